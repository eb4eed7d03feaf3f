/* int8 on Helium: runs of bytes under a mask, and how sums become results, four at a time. Nothing
 * outside a run is touched. */
#ifndef FIL_Q8_HELIUM_H
#define FIL_Q8_HELIUM_H
#include <arm_mve.h>
#include "kernels/q8.h"
#include "simd/inline.h"

/* fil_rescale over vectors: lo and hi are less zero. */
typedef struct finish {
  float32x4_t lo, hi;
  int32_t zero, residual_zero;
  float residual_scale;
} finish;

FIL_INLINE finish finish_of(const fil_rescale *q) {
  return (finish){vdupq_n_f32((float)(q->lo - q->zero)), vdupq_n_f32((float)(q->hi - q->zero)),
                  q->zero, q->residual_zero, q->residual_scale};
}

FIL_INLINE int32x4_t kept(float32x4_t x, const finish *f) {
  x = vminnmq_f32(vmaxnmq_f32(x, f->lo), f->hi);
  return vaddq_n_s32(vcvtnq_s32_f32(x), f->zero);
}

FIL_INLINE int32x4_t rounded(int32x4_t sum, float32x4_t factor, const finish *f) {
  return kept(vmulq_f32(vcvtq_f32_s32(sum), factor), f);
}

FIL_INLINE int32x4_t rounded_with(int32x4_t sum, float32x4_t factor, int32x4_t y, const finish *f) {
  y = vsubq_n_s32(y, f->residual_zero);
  float32x4_t more = vmulq_n_f32(vcvtq_f32_s32(y), f->residual_scale);
  return kept(vaddq_f32(vmulq_f32(vcvtq_f32_s32(sum), factor), more), f);
}

/* The same for what cannot be not-a-number, two results to a word: limits after rounding. */
typedef struct limits {
  int16x8_t lo, hi;
  int16_t zero;
} limits;

FIL_INLINE limits limits_of(const fil_rescale *q) {
  return (limits){vdupq_n_s16((int16_t)q->lo), vdupq_n_s16((int16_t)q->hi), (int16_t)q->zero};
}

FIL_INLINE int16x8_t packed(int32x4_t even, int32x4_t odd, float32x4_t factor, const limits *l) {
  int32x4_t a = vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(even), factor));
  int32x4_t b = vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(odd), factor));
  int16x8_t both = vqmovntq_s32(vqmovnbq_s32(vdupq_n_s16(0), a), b);
  return vminq_s16(vmaxq_s16(vqaddq_n_s16(both, l->zero), l->lo), l->hi);
}

enum { FIL_APART = 18 }; /* steps under it take bytes for the offsets of a vector */

/* n bytes, `step` of them apart where they are read. */
FIL_INLINE void copy_apart(int8_t *to, const int8_t *from, uint32_t step, int32_t n) {
  uint8x16_t places = vmulq_n_u8(vidupq_n_u8(0, 1), (uint8_t)step);
  for (; n > 0; n -= 16, to += 16, from += 16 * (size_t)step) {
    mve_pred16_t some = vctp8q((uint32_t)n);
    vstrbq_p_s8(to, vldrbq_gather_offset_z_s8(from, places, some), some);
  }
}

FIL_INLINE void copy_bytes(int8_t *to, const int8_t *from, int32_t n) {
  for (; n > 0; n -= 16, to += 16, from += 16) {
    mve_pred16_t some = vctp8q((uint32_t)n);
    vstrbq_p_s8(to, vldrbq_z_s8(from, some), some);
  }
}

FIL_INLINE void set_bytes(int8_t *to, int8_t value, int32_t n) {
  for (; n > 0; n -= 16, to += 16) vstrbq_p_s8(to, vdupq_n_s8(value), vctp8q((uint32_t)n));
}
#endif
