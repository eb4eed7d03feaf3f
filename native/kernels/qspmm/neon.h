/* qspmm on NEON: two pairs of planes multiplied and added in 16 bits (one, where a weight is -128),
 * then pairwise; or four planes by dot products. */
#include "simd/bytes.h"
#include "simd/q8_neon.h"
#include "simd/q8_round.h"

enum { J = 4 };

#if FIL_TARGET_NEON_DOTPROD
/* by[j]: of positions 4 j to 4 j + 3 the bytes of four planes. */
typedef struct quad {
  int8x16_t by[4];
} quad;

FIL_INLINE quad quad_of(const int8_t *const from[4], uint32_t n) {
  b16 x[4];
  FIL_UNROLL(i, 4) x[i] = load_bytes(from[i], n);
  int16x8_t ab[2] = {vreinterpretq_s16_s8(vzip1q_s8(x[0], x[1])),
                     vreinterpretq_s16_s8(vzip2q_s8(x[0], x[1]))};
  int16x8_t cd[2] = {vreinterpretq_s16_s8(vzip1q_s8(x[2], x[3])),
                     vreinterpretq_s16_s8(vzip2q_s8(x[2], x[3]))};
  quad q;
  FIL_UNROLL(i, 2) {
    q.by[2 * i] = vreinterpretq_s8_s16(vzip1q_s16(ab[i], cd[i]));
    q.by[2 * i + 1] = vreinterpretq_s8_s16(vzip2q_s16(ab[i], cd[i]));
  }
  return q;
}

typedef struct qw {
  int8x16_t rows; /* four weights each */
} qw;

FIL_INLINE qw load_weights(const int8_t *w, const uint32_t R) {
  if (R == 4) return (qw){vld1q_s8(w)};
  if (R == 2) return (qw){vcombine_s8(vld1_s8(w), vdup_n_s8(0))};
  return (qw){vreinterpretq_s8_s32(vdupq_n_s32(four_of(w)))};
}

FIL_INLINE int is_heavy(const fil_matrix *w, const group *g) { return (void)w, (void)g, 0; }

FIL_INLINE s4 dot(s4 sum, const quad *x, const qw *w, size_t r, size_t j, const int heavy) {
  (void)heavy;
  switch (r) {
  case 0: return vdotq_laneq_s32(sum, x->by[j], w->rows, 0);
  case 1: return vdotq_laneq_s32(sum, x->by[j], w->rows, 1);
  case 2: return vdotq_laneq_s32(sum, x->by[j], w->rows, 2);
  default: return vdotq_laneq_s32(sum, x->by[j], w->rows, 3);
  }
}
#else
/* ab[i], cd[i]: of positions 8 i to 8 i + 7 the bytes of two planes in turn. */
typedef struct quad {
  int8x16_t ab[2], cd[2];
} quad;

FIL_INLINE quad quad_of(const int8_t *const from[4], uint32_t n) {
  b16 x[4];
  FIL_UNROLL(i, 4) x[i] = load_bytes(from[i], n);
  return (quad){{vzip1q_s8(x[0], x[1]), vzip2q_s8(x[0], x[1])},
                {vzip1q_s8(x[2], x[3]), vzip2q_s8(x[2], x[3])}};
}

typedef struct qw {
  int16x8_t pairs; /* of each row: two weights, two weights */
} qw;

FIL_INLINE qw load_weights(const int8_t *w, const uint32_t R) {
  int8_t room[16] = {0};
  if (R == 4) return (qw){vreinterpretq_s16_s8(vld1q_s8(w))};
  __builtin_memcpy(room, w, R * FIL_QUAD);
  return (qw){vreinterpretq_s16_s8(vld1q_s8(room))};
}

FIL_INLINE int8x8_t pair(const qw *w, size_t i) {
  switch (i) {
  case 0: return vreinterpret_s8_s16(vdup_laneq_s16(w->pairs, 0));
  case 1: return vreinterpret_s8_s16(vdup_laneq_s16(w->pairs, 1));
  case 2: return vreinterpret_s8_s16(vdup_laneq_s16(w->pairs, 2));
  case 3: return vreinterpret_s8_s16(vdup_laneq_s16(w->pairs, 3));
  case 4: return vreinterpret_s8_s16(vdup_laneq_s16(w->pairs, 4));
  case 5: return vreinterpret_s8_s16(vdup_laneq_s16(w->pairs, 5));
  case 6: return vreinterpret_s8_s16(vdup_laneq_s16(w->pairs, 6));
  default: return vreinterpret_s8_s16(vdup_laneq_s16(w->pairs, 7));
  }
}

FIL_INLINE int8x8_t half_of(int8x16_t x, size_t j) {
  return j % 2 ? vget_high_s8(x) : vget_low_s8(x);
}

FIL_INLINE int is_heavy(const fil_matrix *w, const group *g) {
  return fil_has_lowest(g->quads, (size_t)fil_quads(g->blocks) * w->block_rows * FIL_QUAD);
}

FIL_INLINE s4 dot(s4 sum, const quad *x, const qw *w, size_t r, size_t j, const int heavy) {
  int16x8_t products = vmull_s8(half_of(x->ab[j / 2], j), pair(w, 2 * r));
  int8x8_t more = half_of(x->cd[j / 2], j), by = pair(w, 2 * r + 1);
  if (heavy) return vpadalq_s16(vpadalq_s16(sum, products), vmull_s8(more, by));
  return vpadalq_s16(sum, vmlal_s8(products, more, by));
}
#endif
#include "kernels/qspmm/sixteen.h"

void FIL_KERNEL(qspmm)(const fil_qspmm_args *a) { run(a); }
