/* Arithmetic of int8 that every processor must do alike. No multiply and add may become one: clang
 * would where it can, GCC does not in C11. */
#ifndef FIL_Q8_H
#define FIL_Q8_H
#include "kernels/kernels.h"
#include "runtime/config.h"
#include "simd/inline.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

enum { FIL_QUAD = 4 }; /* indices whose weights lie together */

static inline uint32_t fil_quads(uint32_t indices) { return indices / 4 + !!(indices % 4); }

/* The nearest whole number, ties to even, for |x| <= 2^22: at 1.5 * 2^23 floats are whole. */
static inline int32_t fil_roundf(float x) {
  union {
    float value;
    int32_t bits;
  } u = {x + 0x1.8p23f};
  return u.bits - 0x4b400000;
}

/* Not a number becomes lo. */
static inline int8_t fil_rescaled(float x, const fil_rescale *q) {
  float lo = (float)(q->lo - q->zero), hi = (float)(q->hi - q->zero);
  x = x > lo ? x : lo;
  x = x < hi ? x : hi;
  return (int8_t)(fil_roundf(x) + q->zero);
}

static inline int8_t fil_kept(int32_t x, const fil_rescale *q) {
  x = x > q->lo ? x : q->lo;
  return (int8_t)(x < q->hi ? x : q->hi);
}

/* How every layer ends. */
static inline int8_t fil_requantized(int32_t sum, float multiplier, const int8_t *residual,
                                     const fil_rescale *q) {
  float x = (float)sum * multiplier;
  if (residual) {
    float y = (float)(*residual - q->residual_zero) * q->residual_scale;
    x = x + y;
  }
  return fil_rescaled(x, q);
}

#include "kernels/q8_soft.h"

/* A row's multiplier, taken apart where that helps. */
#if FIL_SOFT_FLOAT
typedef fil_soft fil_factor;

static inline fil_factor fil_factor_of(float multiplier, const fil_rescale *q) {
  return fil_soft_of(multiplier, q->zero);
}
#else
typedef struct fil_factor {
  float multiplier;
} fil_factor;

static inline fil_factor fil_factor_of(float multiplier, const fil_rescale *q) {
  (void)q;
  return (fil_factor){multiplier};
}
#endif

/* n results of a row. */
static inline void fil_row_requantized(int8_t *out, const int32_t *sum, uint32_t n,
                                       const fil_factor *f, const int8_t *residual,
                                       const fil_rescale *q) {
#if FIL_SOFT_FLOAT
  if (!residual) {
    fil_soft_row(out, sum, n, f, q);
    return;
  }
#endif
  for (uint32_t i = 0; i < n; i++)
    out[i] = fil_requantized(sum[i], f->multiplier, residual ? residual + i : 0, q);
}
#endif
