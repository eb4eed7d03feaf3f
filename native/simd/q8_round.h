/* How 16 sums of int8 layers end. To be included after simd/q8_<isa>.h. */
#ifndef FIL_Q8_ROUND_H
#define FIL_Q8_ROUND_H
#include "kernels/q8.h"

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
