/* qdwconv on NEON, see flat.h. With dot products, one shuffle and one of those take a quad's taps
 * of four places; without, two taps are added up in 16 bits, which holds them unless both weights
 * are -128. */
#include "kernels/qdwconv/taps.h"

#if FIL_TARGET_NEON_DOTPROD
enum { HELD = MOST_SIDE * 2 };

/* places: of the bytes of four neighbours' quads; next: of the four after those. */
typedef struct held {
  int8x16_t w[HELD];
  uint8x16_t places, next;
  uint32_t offset[HELD];
} held;

FIL_INLINE int8x16_t quad_everywhere(const int8_t *w) {
  int32_t four;
  __builtin_memcpy(&four, w, sizeof four);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

FIL_INLINE held hold(const plane *b, const uint32_t K) {
  static const uint8_t places[2][16] = {{0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6},
                                        {0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7, 8, 9}};
  held h;
  h.places = vld1q_u8(places[b->a->g->sw - 1]), h.next = vaddq_u8(h.places, vdupq_n_u8(4));
  FIL_UNROLL(i, K * fil_quads(K)) h.w[i] = quad_everywhere(b->w[i]), h.offset[i] = b->offset[i];
  return h;
}

/* The quads from x on of 16 places, and of `more` fours of places after those. */
FIL_INLINE void near(const held *h, const int8_t *x, int8x16_t to[6], const size_t more) {
  FIL_UNROLL(j, 4 + more) to[j] = vqtbl1q_s8(vld1q_s8(x + j / 2 * 8), j % 2 ? h->next : h->places);
}

FIL_INLINE void sum_row(const held *h, const int8_t *x, s4 sum[4], const int8x16_t *w,
                        const size_t quads, const uint32_t sw) {
  int8x16_t v[6];
  if (sw == 1) near(h, x, v, quads - 1);
  FIL_UNROLL(q, quads)
    FIL_UNROLL(j, 4) {
      int8x16_t four = sw == 1 ? v[j + q] : vqtbl1q_s8(vld1q_s8(x + 8 * j + 4 * q), h->places);
      sum[j] = vdotq_s32(sum[j], four, w[q]);
    }
}

FIL_INLINE void sum_strip(const plane *b, const held *h, const int8_t *x, s4 sum[4],
                          const uint32_t K, const uint32_t sw) {
  const size_t quads = K ? fil_quads(K) : 1;
  FIL_UNROLL(ky, K) sum_row(h, x + h->offset[ky * quads], sum, h->w + ky * quads, quads, sw);
  if (K == ANY)
    for (uint32_t i = 0; i < b->quads; i++) {
      int8x16_t w = quad_everywhere(b->w[i]);
      sum_row(h, x + b->offset[i], sum, &w, 1, sw);
    }
}
#else
enum { HELD = MOST_SIDE * MOST_SIDE };

typedef struct held {
  int8x16_t w[HELD];
  uint32_t offset[MOST_SIDE];
} held;

FIL_INLINE held hold(const plane *b, const uint32_t K) {
  held h;
  FIL_UNROLL(ky, K) {
    h.offset[ky] = b->offset[ky * fil_quads(K)];
    FIL_UNROLL(kx, K) h.w[ky * K + kx] = vld1q_dup_s8(b->w[ky * fil_quads(K)] + kx);
  }
  return h;
}

FIL_INLINE void add_halves(s4 sum[4], int16x8_t low, int16x8_t high) {
  sum[0] = vaddw_s16(sum[0], vget_low_s16(low));
  sum[1] = vaddw_high_s16(sum[1], low);
  sum[2] = vaddw_s16(sum[2], vget_low_s16(high));
  sum[3] = vaddw_high_s16(sum[3], high);
}

FIL_INLINE void add_tap(s4 sum[4], b16 x, int8x16_t w) {
  add_halves(sum, vmull_s8(vget_low_s8(x), vget_low_s8(w)), vmull_high_s8(x, w));
}

FIL_INLINE void add_pair(s4 sum[4], const b16 x[2], const int8x16_t w[2]) {
  int16x8_t low = vmull_s8(vget_low_s8(x[0]), vget_low_s8(w[0])), high = vmull_high_s8(x[0], w[0]);
  low = vmlal_s8(low, vget_low_s8(x[1]), vget_low_s8(w[1]));
  add_halves(sum, low, vmlal_high_s8(high, x[1], w[1]));
}

/* n taps side by side, n + 1 if `sw` is 2. */
FIL_INLINE void load_taps(const int8_t *x, b16 *to, const size_t n, const uint32_t sw) {
  if (sw == 1) {
    FIL_UNROLL(i, n) to[i] = vld1q_s8(x + i);
    return;
  }
  FIL_UNROLL(i, (n + 1) / 2) {
    int8x16x2_t two = vld2q_s8(x + 2 * i);
    to[2 * i] = two.val[0];
    if (2 * i + 1 < n) to[2 * i + 1] = two.val[1];
  }
}

FIL_INLINE void sum_strip(const plane *b, const held *h, const int8_t *x, s4 sum[4],
                          const uint32_t K, const uint32_t sw) {
  b16 v[HELD];
  FIL_UNROLL(ky, K) load_taps(x + h->offset[ky], v + ky * K, K, sw);
  FIL_UNROLL(i, K * K / 2) add_pair(sum, v + 2 * i, h->w + 2 * i);
  if (K) add_tap(sum, v[K * K - 1], h->w[K * K - 1]);
  else
    for (uint32_t i = 0; i < b->quads; i++) {
      load_taps(x + b->offset[i], v, FIL_QUAD, sw);
      FIL_UNROLL(t, FIL_QUAD) add_tap(sum, v[t], vdupq_n_s8(b->w[i][t]));
    }
}
#endif

#include "kernels/qdwconv/flat.h"
