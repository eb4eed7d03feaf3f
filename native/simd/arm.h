/* NEON: arm_neon.h and, where the processor is a 32-bit one, what kernels use of 64-bit ARM's. */
#ifndef FIL_ARM_H
#define FIL_ARM_H
#include <arm_neon.h>
#include "simd/inline.h"
#if !defined(__aarch64__)

FIL_INLINE float32x4_t vdivq_f32(float32x4_t a, float32x4_t b) { return a / b; }
FIL_INLINE float32x4_t vsqrtq_f32(float32x4_t a) {
  for (int i = 0; i < 4; i++) a[i] = __builtin_sqrtf(a[i]);
  return a;
}
/* The nearest whole number, ties to even; from 2^23 on there are no others. */
FIL_INLINE float32x4_t vrndnq_f32(float32x4_t a) {
  float32x4_t big = vdupq_n_f32(0x1p23f);
  uint32x4_t sign = vdupq_n_u32(0x80000000u);
  float32x4_t whole = vsubq_f32(vaddq_f32(vabsq_f32(a), big), big);
  return vbslq_f32(vcaltq_f32(a, big), vbslq_f32(sign, a, whole), a);
}
FIL_INLINE int32x4_t vcvtnq_s32_f32(float32x4_t a) { return vcvtq_s32_f32(vrndnq_f32(a)); }
FIL_INLINE float vaddvq_f32(float32x4_t a) {
  float32x2_t two = vpadd_f32(vget_low_f32(a), vget_high_f32(a));
  return vget_lane_f32(vpadd_f32(two, two), 0);
}
FIL_INLINE float vmaxvq_f32(float32x4_t a) {
  float32x2_t two = vpmax_f32(vget_low_f32(a), vget_high_f32(a));
  return vget_lane_f32(vpmax_f32(two, two), 0);
}
FIL_INLINE int32_t vaddvq_s32(int32x4_t a) {
  int32x2_t two = vpadd_s32(vget_low_s32(a), vget_high_s32(a));
  return vget_lane_s32(vpadd_s32(two, two), 0);
}

FIL_INLINE int8x16_t vzip1q_s8(int8x16_t a, int8x16_t b) { return vzipq_s8(a, b).val[0]; }
FIL_INLINE int8x16_t vzip2q_s8(int8x16_t a, int8x16_t b) { return vzipq_s8(a, b).val[1]; }
FIL_INLINE int16x8_t vmovl_high_s8(int8x16_t a) { return vmovl_s8(vget_high_s8(a)); }
FIL_INLINE int32x4_t vmovl_high_s16(int16x8_t a) { return vmovl_s16(vget_high_s16(a)); }
FIL_INLINE float32x4_t vcvt_high_f32_f16(float16x8_t a) { return vcvt_f32_f16(vget_high_f16(a)); }
FIL_INLINE int16x8_t vmull_high_s8(int8x16_t a, int8x16_t b) {
  return vmull_s8(vget_high_s8(a), vget_high_s8(b));
}
FIL_INLINE int16x8_t vmlal_high_s8(int16x8_t sum, int8x16_t a, int8x16_t b) {
  return vmlal_s8(sum, vget_high_s8(a), vget_high_s8(b));
}
FIL_INLINE int32x4_t vaddw_high_s16(int32x4_t sum, int16x8_t a) {
  return vaddw_s16(sum, vget_high_s16(a));
}
FIL_INLINE int16x8_t vqmovn_high_s32(int16x4_t low, int32x4_t a) {
  return vcombine_s16(low, vqmovn_s32(a));
}
FIL_INLINE int8x16_t vqmovn_high_s16(int8x8_t low, int16x8_t a) {
  return vcombine_s8(low, vqmovn_s16(a));
}
#define vdup_laneq_s16(a, lane)                                                                    \
  vdup_lane_s16((lane) < 4 ? vget_low_s16(a) : vget_high_s16(a), (lane) % 4)
FIL_INLINE int8x16_t vqtbl1q_s8(int8x16_t table, uint8x16_t index) {
  int8x8x2_t t = {{vget_low_s8(table), vget_high_s8(table)}};
  int8x16_t i = vreinterpretq_s8_u8(index);
  return vcombine_s8(vtbl2_s8(t, vget_low_s8(i)), vtbl2_s8(t, vget_high_s8(i)));
}
#endif
#endif
