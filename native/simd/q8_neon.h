/* Vectors of 16 bytes on NEON: b16 bytes, s4 int32, f4 floats. */
#ifndef FIL_Q8_NEON_H
#define FIL_Q8_NEON_H
#include "simd/arm.h"
#include "simd/inline.h"

typedef int8x16_t b16;
typedef int32x4_t s4;
typedef float32x4_t f4;

FIL_INLINE b16 b16_load(const int8_t *p) { return vld1q_s8(p); }
FIL_INLINE void b16_store(int8_t *p, b16 v) { vst1q_s8(p, v); }
FIL_INLINE s4 s4_set1(int32_t x) { return vdupq_n_s32(x); }
FIL_INLINE s4 s4_sub(s4 a, s4 b) { return vsubq_s32(a, b); }
/* What is over int32 ends at the end of the range. */
FIL_INLINE s4 s4_round(f4 x) { return vcvtnq_s32_f32(x); }
FIL_INLINE f4 f4_set1(float x) { return vdupq_n_f32(x); }
FIL_INLINE f4 f4_of(s4 x) { return vcvtq_f32_s32(x); }
FIL_INLINE f4 f4_mul(f4 a, f4 b) { return vmulq_f32(a, b); }
FIL_INLINE f4 f4_add(f4 a, f4 b) { return vaddq_f32(a, b); }

FIL_INLINE void b16_widen(b16 v, s4 to[4]) {
  int16x8_t low = vmovl_s8(vget_low_s8(v)), high = vmovl_high_s8(v);
  to[0] = vmovl_s16(vget_low_s16(low)), to[1] = vmovl_high_s16(low);
  to[2] = vmovl_s16(vget_low_s16(high)), to[3] = vmovl_high_s16(high);
}
/* Plus `zero`; what does not fit ends at the end of the range. */
FIL_INLINE b16 b16_pack(const s4 v[4], int16_t zero) {
  int16x8_t low = vqmovn_high_s32(vqmovn_s32(v[0]), v[1]), z = vdupq_n_s16(zero);
  int16x8_t high = vqmovn_high_s32(vqmovn_s32(v[2]), v[3]);
  return vqmovn_high_s16(vqmovn_s16(vqaddq_s16(low, z)), vqaddq_s16(high, z));
}
FIL_INLINE b16 b16_between(b16 v, int8_t lo, int8_t hi) {
  return vminq_s8(vmaxq_s8(v, vdupq_n_s8(lo)), vdupq_n_s8(hi));
}
#endif
