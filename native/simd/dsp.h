/* What Cortex-M's DSP extension has for int8: two products of 16 bits in one instruction, and words
 * at any address. Elsewhere the same in C, so that a host can test the kernels. */
#ifndef FIL_DSP_H
#define FIL_DSP_H
#include <stddef.h>
#include "simd/inline.h"

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FP)
#include <arm_acle.h>
#define FIL_HAS_DSP 1
#else
#define FIL_HAS_DSP 0
#endif

FIL_INLINE uint32_t dsp_word(const int8_t *p) {
  uint32_t x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}

FIL_INLINE void dsp_store(int8_t *p, uint32_t x) { __builtin_memcpy(p, &x, sizeof x); }

/* The low halves of two words, and the high ones. */
FIL_INLINE uint32_t dsp_low(uint32_t a, uint32_t b) { return (a & 0xffff) | b << 16; }
FIL_INLINE uint32_t dsp_high(uint32_t a, uint32_t b) { return a >> 16 | (b & 0xffff0000u); }

#if FIL_HAS_DSP
/* Bytes 0 and 2 as 16 bits each, and bytes 1 and 3. */
FIL_INLINE uint32_t dsp_even(uint32_t x) { return (uint32_t)__sxtb16((int8x4_t)x); }
FIL_INLINE uint32_t dsp_odd(uint32_t x) { return (uint32_t)__sxtb16((int8x4_t)__ror(x, 8)); }

/* The same of bytes without a sign. */
FIL_INLINE uint32_t dsp_even_bytes(uint32_t x) { return (uint32_t)__uxtb16((int8x4_t)x); }
FIL_INLINE uint32_t dsp_odd_bytes(uint32_t x) { return (uint32_t)__uxtb16((int8x4_t)__ror(x, 8)); }

/* sum + the products of the halves */
FIL_INLINE int32_t dsp_mac(int32_t sum, uint32_t x, uint32_t w) {
  return __smlad((int16x2_t)x, (int16x2_t)w, sum);
}

#else
FIL_INLINE int32_t dsp_byte(uint32_t x, uint32_t i) { return (int8_t)(uint8_t)(x >> 8 * i); }

FIL_INLINE uint32_t dsp_even(uint32_t x) {
  return dsp_low((uint32_t)dsp_byte(x, 0), (uint32_t)dsp_byte(x, 2));
}
FIL_INLINE uint32_t dsp_odd(uint32_t x) { return dsp_even(x >> 8); }
FIL_INLINE uint32_t dsp_even_bytes(uint32_t x) { return x & 0xff00ff; }
FIL_INLINE uint32_t dsp_odd_bytes(uint32_t x) { return x >> 8 & 0xff00ff; }

FIL_INLINE int32_t dsp_mac(int32_t sum, uint32_t x, uint32_t w) {
  int32_t low = (int16_t)(uint16_t)x * (int16_t)(uint16_t)w;
  return sum + low + (int16_t)(uint16_t)(x >> 16) * (int16_t)(uint16_t)(w >> 16);
}

#endif

/* fil_copy_halves: every second byte, nothing behind the last is read. */
FIL_INLINE void dsp_four_halves(int8_t *to, const int8_t *from) {
  uint32_t a = dsp_even_bytes(dsp_word(from)), b = dsp_odd_bytes(dsp_word(from + 3));
  dsp_store(to, dsp_low(a | a >> 8, b | b >> 8));
}

FIL_INLINE void dsp_copy_halves(int8_t *to, const int8_t *from, size_t n) {
  if (n < 4) {
    for (size_t i = 0; i < n; i++) to[i] = from[2 * i];
    return;
  }
  for (; n > 4; n -= 4, to += 4, from += 8) {
    dsp_four_halves(to, from);
    if (n < 8) to -= 8 - n, from -= 2 * (8 - n), n = 8;
  }
  dsp_four_halves(to, from);
}
#endif
