/* qdwconv on WebAssembly, see flat.h: 8 bytes widened to 16 bits are two taps of four places. Of
 * neighbours those are every second place, so that even and odd ones are summed apart. */
#include "kernels/qdwconv/taps.h"

enum { HELD = MOST_SIDE * 2 };

/* Of each quad: its first two weights everywhere, its last two. */
typedef struct held {
  v128_t front[HELD], back[HELD];
  uint32_t offset[HELD];
} held;

FIL_INLINE v128_t pair_everywhere(const int8_t *w) {
  v128_t two = wasm_i16x8_extend_low_i8x16(wasm_v128_load16_splat(w));
  return two;
}

FIL_INLINE held hold(const plane *b, const uint32_t K) {
  held h;
  FIL_UNROLL(i, K * fil_quads(K)) {
    h.front[i] = pair_everywhere(b->w[i]), h.back[i] = pair_everywhere(b->w[i] + 2);
    h.offset[i] = b->offset[i];
  }
  return h;
}

/* even: whether what is at x is that of places 0, 2, 4, ...; else of 0, 1, 2, ... in turn. */
FIL_INLINE v128_t add(v128_t sum, const int8_t *x, v128_t w) {
  return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(wasm_i16x8_load8x8(x), w));
}

FIL_INLINE void sum_pair(s4 sum[4], const int8_t *x, v128_t w, const uint32_t sw) {
  FIL_UNROLL(j, 4) sum[j] = add(sum[j], sw == 1 ? x + j / 2 * 8 + j % 2 : x + 8 * j, w);
}

FIL_INLINE void sum_strip(const plane *b, const held *h, const int8_t *x, s4 sum[4],
                          const uint32_t K, const uint32_t sw) {
  FIL_UNROLL(i, K * fil_quads(K)) {
    sum_pair(sum, x + h->offset[i], h->front[i], sw);
    if (i % fil_quads(K) * FIL_QUAD + 2 < K) sum_pair(sum, x + h->offset[i] + 2, h->back[i], sw);
  }
  if (K == ANY)
    for (uint32_t i = 0; i < b->quads; i++) {
      sum_pair(sum, x + b->offset[i], pair_everywhere(b->w[i]), sw);
      sum_pair(sum, x + b->offset[i] + 2, pair_everywhere(b->w[i] + 2), sw);
    }
  if (sw == 2) return;
  FIL_UNROLL(j, 2) {
    v128_t even = sum[2 * j], odd = sum[2 * j + 1];
    sum[2 * j] = wasm_i32x4_shuffle(even, odd, 0, 4, 1, 5);
    sum[2 * j + 1] = wasm_i32x4_shuffle(even, odd, 2, 6, 3, 7);
  }
}

#include "kernels/qdwconv/flat.h"
