/* NEON with float16 arithmetic (ARMv8.2-A with FP16), see simd.h: activations and weights are
 * halves, and so are the lanes. What would lose too much in them, long sums, goes by way of vs. */
#include <arm_neon.h>

#define VL            8
#define FIL_REGISTERS 32
#define FIL_LANES_F16 1
typedef float16x8_t vf;
typedef uint16x8_t vm;
typedef fx fw;

FIL_INLINE vf v_load(const fx *p) { return vld1q_f16(p); }
FIL_INLINE void v_store(fx *p, vf a) { vst1q_f16(p, a); }
FIL_INLINE vf v_set1(float a) { return vdupq_n_f16((fx)a); }
FIL_INLINE vf v_zero(void) { return vdupq_n_f16(0); }
FIL_INLINE vf v_add(vf a, vf b) { return vaddq_f16(a, b); }
FIL_INLINE vf v_sub(vf a, vf b) { return vsubq_f16(a, b); }
FIL_INLINE vf v_mul(vf a, vf b) { return vmulq_f16(a, b); }
FIL_INLINE vf v_div(vf a, vf b) { return vdivq_f16(a, b); }
FIL_INLINE vf v_fma(vf a, vf b, vf c) { return vfmaq_f16(c, a, b); }
FIL_INLINE vf v_min(vf a, vf b) { return vminq_f16(a, b); }
FIL_INLINE vf v_max(vf a, vf b) { return vmaxq_f16(a, b); }
FIL_INLINE vm v_lt(vf a, vf b) { return vcltq_f16(a, b); }
FIL_INLINE vf v_select(vm m, vf a, vf b) { return vbslq_f16(m, a, b); }

/* A multiply-add takes one operand from any lane: n weights are one load, not n. */
#define FIL_WEIGHTS 1
typedef vf v_weights;
FIL_INLINE v_weights v_load_weights(const fw *p, uint32_t n) {
  if (n == 1) return vld1q_dup_f16(p);
  if (n == 2) {
    uint32_t both;
    __builtin_memcpy(&both, p, sizeof both);
    return vreinterpretq_f16_u32(vdupq_n_u32(both));
  }
  return n == 4 ? vcombine_f16(vld1_f16(p), vdup_n_f16(0)) : v_load(p);
}
FIL_INLINE vf v_weight(v_weights w, size_t i) { return vdupq_n_f16(w[i]); }

FIL_INLINE vf v_load_n(const fx *p, uint32_t n) {
  if (n >= VL) return v_load(p);
  if (n >= 4) { /* the last four, moved up to where the second half ends */
    uint64x1_t last = vreinterpret_u64_f16(vld1_f16(p + n - 4));
    last = vshl_u64(last, vdup_n_s64(((int64_t)n - VL) * 16));
    return vcombine_f16(vld1_f16(p), vreinterpret_f16_u64(last));
  }
  vf a = v_zero();
  if (n > 0) a = vld1q_lane_f16(p, a, 0);
  if (n > 1) a = vld1q_lane_f16(p + 1, a, 1);
  if (n > 2) a = vld1q_lane_f16(p + 2, a, 2);
  return a;
}
FIL_INLINE void v_store_n(fx *p, vf a, uint32_t n) {
  if (n >= VL) {
    v_store(p, a);
    return;
  }
  if (n >= 4) {
    uint8x8_t at = vadd_u8(vcreate_u8(0x0706050403020100), vdup_n_u8((uint8_t)(2 * (n - 4))));
    uint8x8_t last = vqtbl1_u8(vreinterpretq_u8_f16(a), at);
    vst1_f16(p, vget_low_f16(a));
    vst1_f16(p + n - 4, vreinterpret_f16_u8(last));
    return;
  }
  if (n > 0) vst1q_lane_f16(p, a, 0);
  if (n > 1) vst1q_lane_f16(p + 1, a, 1);
  if (n > 2) vst1q_lane_f16(p + 2, a, 2);
}

FIL_INLINE void v_load2(const fx *p, vf *even, vf *odd) {
  float16x8x2_t a = vld2q_f16(p);
  *even = a.val[0];
  *odd = a.val[1];
}

FIL_INLINE void v_split(vf a, vf b, vf *even, vf *odd) {
  *even = vuzp1q_f16(a, b);
  *odd = vuzp2q_f16(a, b);
}

typedef struct vs {
  float32x4_t low, high;
} vs;
FIL_INLINE vs s_zero(void) { return (vs){vdupq_n_f32(0), vdupq_n_f32(0)}; }
FIL_INLINE vs s_add(vs s, vf a) {
  s.low = vaddq_f32(s.low, vcvt_f32_f16(vget_low_f16(a)));
  s.high = vaddq_f32(s.high, vcvt_high_f32_f16(a));
  return s;
}
FIL_INLINE vf s_narrow(vs s) { return vcvt_high_f16_f32(vcvt_f16_f32(s.low), s.high); }
FIL_INLINE vf s_div(vs s, float by) {
  float32x4_t d = vdupq_n_f32(by);
  return s_narrow((vs){vdivq_f32(s.low, d), vdivq_f32(s.high, d)});
}
