/* NEON of 64-bit and 32-bit ARM: see simd.h. With FIL_TARGET_NEON_FP16, activations are halves on
 * the way. */
#include "simd/arm.h"

#define VL 4
#if defined(__aarch64__)
#define FIL_REGISTERS 32
#else
#define FIL_REGISTERS 16
#endif
typedef float32x4_t vf;
typedef uint32x4_t vm;

FIL_INLINE vf v_load_f32(const float *p) { return vld1q_f32(p); }
FIL_INLINE void v_store_f32(float *p, vf a) { vst1q_f32(p, a); }
FIL_INLINE vf v_load_f16(const uint16_t *p) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
FIL_INLINE vf v_set1(float a) { return vdupq_n_f32(a); }
FIL_INLINE vf v_zero(void) { return vdupq_n_f32(0); }
FIL_INLINE vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
FIL_INLINE vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
FIL_INLINE vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
FIL_INLINE vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
FIL_INLINE vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
FIL_INLINE vf v_min(vf a, vf b) { return vminq_f32(a, b); }
FIL_INLINE vf v_max(vf a, vf b) { return vmaxq_f32(a, b); }
FIL_INLINE vf v_abs(vf a) { return vabsq_f32(a); }
FIL_INLINE vf v_neg(vf a) { return vnegq_f32(a); }
FIL_INLINE vf v_sqrt(vf a) { return vsqrtq_f32(a); }
FIL_INLINE vf v_round(vf a) { return vrndnq_f32(a); }
FIL_INLINE vm v_lt(vf a, vf b) { return vcltq_f32(a, b); }
FIL_INLINE vf v_select(vm m, vf a, vf b) { return vbslq_f32(m, a, b); }
FIL_INLINE float v_hsum(vf a) { return vaddvq_f32(a); }
FIL_INLINE float v_hmax(vf a) { return vmaxvq_f32(a); }

/* A multiply-add takes one operand from any lane: n weights are one load, not n. */
#define FIL_WEIGHTS 1
typedef struct v_weights {
  vf four[2];
} v_weights;
FIL_INLINE v_weights v_load_weights(const float *p, uint32_t n) {
  v_weights w = {{v_zero(), v_zero()}};
  if (n == 1) w.four[0] = vld1q_dup_f32(p);
  if (n == 2) w.four[0] = vcombine_f32(vld1_f32(p), vld1_f32(p));
  if (n >= 4) w.four[0] = v_load_f32(p);
  if (n == 8) w.four[1] = v_load_f32(p + 4);
  return w;
}
FIL_INLINE vf v_weight(v_weights w, size_t i) { return v_set1(w.four[i / 4][i % 4]); }

FIL_INLINE vf v_load_f32_n(const float *p, uint32_t n) {
  if (n >= VL) return v_load_f32(p);
  vf a = v_zero();
  if (n > 0) a = vld1q_lane_f32(p, a, 0);
  if (n > 1) a = vld1q_lane_f32(p + 1, a, 1);
  if (n > 2) a = vld1q_lane_f32(p + 2, a, 2);
  return a;
}
FIL_INLINE void v_store_f32_n(float *p, vf a, uint32_t n) {
  if (n >= VL) {
    v_store_f32(p, a);
    return;
  }
  if (n > 0) vst1q_lane_f32(p, a, 0);
  if (n > 1) vst1q_lane_f32(p + 1, a, 1);
  if (n > 2) vst1q_lane_f32(p + 2, a, 2);
}

FIL_INLINE vf v_pow2(int32x4_t n) {
  return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}
FIL_INLINE vf v_scale2(vf a, vf n) { /* in two steps: 2^128 and 2^-152 are no floats */
  int32x4_t whole = vcvtq_s32_f32(n), half = vshrq_n_s32(whole, 1);
  return v_mul(v_mul(a, v_pow2(half)), v_pow2(vsubq_s32(whole, half)));
}

#if FIL_TARGET_NEON_FP16
FIL_INLINE vf v_load(const fx *p) { return vcvt_f32_f16(vld1_f16(p)); }
FIL_INLINE void v_store(fx *p, vf a) { vst1_f16(p, vcvt_f16_f32(a)); }
FIL_INLINE vf v_load_n(const fx *p, uint32_t n) {
  if (n >= VL) return v_load(p);
  float16x4_t a = vdup_n_f16(0);
  if (n > 0) a = vld1_lane_f16(p, a, 0);
  if (n > 1) a = vld1_lane_f16(p + 1, a, 1);
  if (n > 2) a = vld1_lane_f16(p + 2, a, 2);
  return vcvt_f32_f16(a);
}
FIL_INLINE void v_store_n(fx *p, vf a, uint32_t n) {
  float16x4_t h = vcvt_f16_f32(a);
  if (n >= VL) {
    vst1_f16(p, h);
    return;
  }
  if (n > 0) vst1_lane_f16(p, h, 0);
  if (n > 1) vst1_lane_f16(p + 1, h, 1);
  if (n > 2) vst1_lane_f16(p + 2, h, 2);
}
#else
FIL_INLINE vf v_load(const fx *p) { return v_load_f32(p); }
FIL_INLINE void v_store(fx *p, vf a) { v_store_f32(p, a); }
FIL_INLINE vf v_load_n(const fx *p, uint32_t n) { return v_load_f32_n(p, n); }
FIL_INLINE void v_store_n(fx *p, vf a, uint32_t n) { v_store_f32_n(p, a, n); }

FIL_INLINE void v_load2(const float *p, vf *even, vf *odd) {
  float32x4x2_t a = vld2q_f32(p);
  *even = a.val[0];
  *odd = a.val[1];
}
#endif
