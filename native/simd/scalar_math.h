/* exp, tanh, sigmoid, sqrt, the activations and float16 for one float, without libm. simd/math.h
 * has the same formulas on vectors; the bounds, against float64 over all of float32, are tested:
 *   exp      2 ulp (results under 2^-126: 1 ulp of the denormal), overflow to inf from 88.73
 *   sigmoid  4 ulp down to 2^-126
 *   tanh     4 ulp
 * NaN in, NaN out. */
#ifndef FIL_SCALAR_MATH_H
#define FIL_SCALAR_MATH_H
#include "filigree/format.h"

#define FIL_LOG2E    1.44269504f
#define FIL_LN2_HI   0.693359375f /* few bits: n * FIL_LN2_HI is exact */
#define FIL_LN2_LO   -2.12194440e-4f
#define FIL_EXP_LOW  -105.0f /* exp of less is 0 */
#define FIL_EXP_HIGH 89.0f   /* exp of more is inf */

/* exp(r) = 1 + r + r^2 * P(r) for |r| <= ln(2) / 2 (Cephes' expf) */
#define FIL_EXP_P0 1.9875691500e-4f
#define FIL_EXP_P1 1.3981999507e-3f
#define FIL_EXP_P2 8.3334519073e-3f
#define FIL_EXP_P3 4.1665795894e-2f
#define FIL_EXP_P4 1.6666665459e-1f
#define FIL_EXP_P5 5.0000001201e-1f

/* tanh(x) = x + x^3 * P(x^2) for |x| < 0.625 (Cephes' tanhf) */
#define FIL_TANH_SMALL 0.625f
#define FIL_TANH_P0    -5.70498872745e-3f
#define FIL_TANH_P1    2.06390887954e-2f
#define FIL_TANH_P2    -5.37397155531e-2f
#define FIL_TANH_P3    1.33314422036e-1f
#define FIL_TANH_P4    -3.33332819422e-1f

static inline float fil_minf(float a, float b) { return b < a ? b : a; }
static inline float fil_maxf(float a, float b) { return a < b ? b : a; }
static inline float fil_absf(float x) { return x < 0 ? -x : x + 0.0f; }

static inline float fil_pow2(int n) {
  union {
    uint32_t bits;
    float value;
  } u = {(uint32_t)(n + 127) << 23};
  return u.value;
}

/* A half as a float, exactly; 65536 and more for those that are not finite. */
static inline float fil_f16(uint16_t half) {
  union {
    uint32_t bits;
    float value;
  } u = {(half & 0x7fffu) << 13};
  if (u.bits >> 23) {
    u.bits += (127u - 15u) << 23;
  } else { /* 2^-14 (1 + m / 1024) - 2^-14: no denormal that a processor might flush */
    u.bits |= (127u - 14u) << 23;
    u.value -= 0x1p-14f;
  }
  u.bits |= (half & 0x8000u) << 16;
  return u.value;
}

static inline float fil_expf(float x) {
  if (x != x) return x;
  x = fil_maxf(fil_minf(x, FIL_EXP_HIGH), FIL_EXP_LOW);
  float t = x * FIL_LOG2E;
  int n = (int)(t + (t < 0 ? -0.5f : 0.5f));
  float r = (x - (float)n * FIL_LN2_HI) - (float)n * FIL_LN2_LO;
  float p = FIL_EXP_P0;
  p = p * r + FIL_EXP_P1;
  p = p * r + FIL_EXP_P2;
  p = p * r + FIL_EXP_P3;
  p = p * r + FIL_EXP_P4;
  p = p * r + FIL_EXP_P5;
  p = p * r * r + r + 1.0f;
  int half = n / 2; /* in two steps: 2^128 and 2^-152 are no floats */
  return p * fil_pow2(half) * fil_pow2(n - half);
}

static inline float fil_sigmoidf(float x) { return 1.0f / (1.0f + fil_expf(-x)); }

static inline float fil_tanhf(float x) {
  float a = fil_absf(x), s = x * x;
  if (a >= FIL_TANH_SMALL) {
    float y = 1.0f - 2.0f / (fil_expf(2.0f * a) + 1.0f);
    return x < 0 ? -y : y;
  }
  float p = FIL_TANH_P0;
  p = p * s + FIL_TANH_P1;
  p = p * s + FIL_TANH_P2;
  p = p * s + FIL_TANH_P3;
  p = p * s + FIL_TANH_P4;
  return x + x * s * p;
}

/* Correctly rounded where the processor has a square root, else within 1 ulp (Heron). */
static inline float fil_sqrtf(float x) {
#if defined(__SSE2__) || defined(__aarch64__) || defined(__wasm__) ||                              \
    (defined(__ARM_FP) && __ARM_FP & 4)
  return __builtin_sqrtf(x);
#else
  if (!(x > 0) || x > 3.402823466e38f) return x < 0 ? (x - x) / (x - x) : x;
  union {
    float value;
    uint32_t bits;
  } u = {x};
  u.bits = (u.bits >> 1) + 0x1fbd1df5;
  float y = u.value;
  for (int i = 0; i < 5; i++) y = 0.5f * (y + x / y);
  return y;
#endif
}

/* The activations of act.def. */
static inline float fil_act_of_float(float x, uint8_t act, float lo, float hi) {
  switch ((fil_act)act) {
  case FIL_ACT_NONE: return x;
  case FIL_ACT_CLAMP: return fil_minf(fil_maxf(x, lo), hi);
  case FIL_ACT_HARDSIGMOID: return fil_minf(fil_maxf(lo * x + hi, 0), 1);
  case FIL_ACT_HARDSWISH: return x * fil_minf(fil_maxf(lo * x + hi, 0), 1);
  case FIL_ACT_SIGMOID: return fil_sigmoidf(x);
  case FIL_ACT_TANH: return fil_tanhf(x);
  case FIL_ACT_LEAKYRELU: return x < 0 ? lo * x : x;
  case FIL_ACT_SILU: return x * fil_sigmoidf(x);
  case FIL_ACT_EXP: return fil_expf(x);
  case FIL_ACT_SQRT: return fil_sqrtf(x);
  case FIL_ACT_ABS: return fil_absf(x);
  case FIL_ACT_NEG: return -x;
  case FIL_ACT_COUNT: break;
  }
  return x;
}
#endif
