/* exp, tanh and sigmoid on vectors: formulas, constants and error bounds of simd/scalar_math.h. */
#ifndef FIL_SIMD_MATH_H
#define FIL_SIMD_MATH_H
#include "simd/scalar_math.h"
#include "simd/simd.h"

FIL_INLINE vf v_exp(vf x) {
  x = v_max(v_min(x, v_set1(FIL_EXP_HIGH)), v_set1(FIL_EXP_LOW));
  vf n = v_round(v_mul(x, v_set1(FIL_LOG2E)));
  vf r = v_fma(n, v_set1(-FIL_LN2_HI), x);
  r = v_fma(n, v_set1(-FIL_LN2_LO), r);
  vf p = v_set1(FIL_EXP_P0);
  p = v_fma(p, r, v_set1(FIL_EXP_P1));
  p = v_fma(p, r, v_set1(FIL_EXP_P2));
  p = v_fma(p, r, v_set1(FIL_EXP_P3));
  p = v_fma(p, r, v_set1(FIL_EXP_P4));
  p = v_fma(p, r, v_set1(FIL_EXP_P5));
  p = v_add(v_fma(v_mul(p, r), r, r), v_set1(1.0f));
  return v_scale2(p, n);
}

FIL_INLINE vf v_sigmoid(vf x) { return v_div(v_set1(1.0f), v_add(v_set1(1.0f), v_exp(v_neg(x)))); }

FIL_INLINE vf v_tanh(vf x) {
  vf one = v_set1(1.0f), a = v_abs(x), s = v_mul(x, x);
  vf large = v_sub(one, v_div(v_set1(2.0f), v_add(v_exp(v_add(a, a)), one)));
  large = v_select(v_lt(x, v_zero()), v_neg(large), large);
  vf p = v_set1(FIL_TANH_P0);
  p = v_fma(p, s, v_set1(FIL_TANH_P1));
  p = v_fma(p, s, v_set1(FIL_TANH_P2));
  p = v_fma(p, s, v_set1(FIL_TANH_P3));
  p = v_fma(p, s, v_set1(FIL_TANH_P4));
  vf small = v_fma(v_mul(x, s), p, x);
  return v_select(v_lt(a, v_set1(FIL_TANH_SMALL)), small, large);
}
#endif
