/* float16 weights on their way to float32 arithmetic. */
#ifndef FIL_SIMD_F16_H
#define FIL_SIMD_F16_H
#include "simd/simd.h"

/* The first n < VL halves; the other lanes are 0. */
FIL_INLINE vf v_load_f16_n(const uint16_t *p, uint32_t n) {
  uint16_t all[VL] = {0};
  for (uint32_t i = 0; i < n; i++) all[i] = p[i];
  return v_load_f16(all);
}

/* n halves to floats; touches nothing else. */
FIL_INLINE void widen(float *to, const uint16_t *from, uint32_t n) {
  uint32_t i = 0;
  for (; i + VL <= n; i += VL) v_store_f32(to + i, v_load_f16(from + i));
  if (i < n) v_store_f32_n(to + i, v_load_f16_n(from + i, n - i), n - i);
}
#endif
