/* 16 bytes of a plane, and how 16 sums of int8 layers end. To be included after simd/q8_<isa>.h. */
#ifndef FIL_Q8_ROUND_H
#define FIL_Q8_ROUND_H
#include "kernels/q8.h"

/* Whole fours of bytes, as a plane's padding allows. */
FIL_INLINE b16 load_bytes(const int8_t *x, uint32_t n) {
  if (n > 12) return b16_load(x);
  int8_t room[16] = {0};
  for (uint32_t i = 0; i < n; i += 4) __builtin_memcpy(room + i, x + i, 4);
  return b16_load(room);
}

FIL_INLINE void store_bytes(int8_t *to, b16 v, uint32_t n) {
  int8_t room[16];
  if (n > 12) {
    b16_store(to, v);
    return;
  }
  b16_store(room, v);
  for (uint32_t i = 0; i < n; i += 4) __builtin_memcpy(to + i, room + i, 4);
}

/* residual: of the 16, used if `more`. */
FIL_INLINE b16 b16_requantized(const s4 sum[4], float multiplier, b16 residual,
                               const fil_rescale *q, const int more) {
  s4 v[4], y[4];
  if (more) b16_widen(residual, y);
  FIL_UNROLL(j, 4) {
    f4 x = f4_mul(f4_of(sum[j]), f4_set1(multiplier));
    if (more) {
      s4 whole = s4_sub(y[j], s4_set1(q->residual_zero));
      x = f4_add(x, f4_mul(f4_of(whole), f4_set1(q->residual_scale)));
    }
    v[j] = s4_round(x);
  }
  return b16_between(b16_pack(v, (int16_t)q->zero), (int8_t)q->lo, (int8_t)q->hi);
}
#endif
