/* qspmm on NEON: pairs of planes multiplied to 16 bits and added up pairwise, which is exact. */
#include "simd/q8_neon.h"

/* ab[i], cd[i]: of positions 8 i to 8 i + 7 the bytes of two planes in turn. */
typedef struct quad {
  int8x16_t ab[2], cd[2];
} quad;

FIL_INLINE quad quad_of(const b16 x[4]) {
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

FIL_INLINE s4 dot(s4 sum, const quad *x, const qw *w, size_t r, size_t j) {
  sum = vpadalq_s16(sum, vmull_s8(half_of(x->ab[j / 2], j), pair(w, 2 * r)));
  return vpadalq_s16(sum, vmull_s8(half_of(x->cd[j / 2], j), pair(w, 2 * r + 1)));
}
#include "kernels/qspmm/sixteen.h"

void FIL_KERNEL(qspmm)(const fil_qspmm_args *a) { run(a); }
