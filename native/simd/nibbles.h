/* Weights of int4 on their way to float32 arithmetic: sixteen of them, FIL_UNIT, are FOUR_BITS
 * vectors.
 *
 *   v_nibbles   8 bytes of nibbles in two's complement, the lower half of a byte first
 *   v_scales    lane i of all of them: half number i % O, widened */
#ifndef FIL_SIMD_NIBBLES_H
#define FIL_SIMD_NIBBLES_H
#include "simd/simd.h"

enum { FOUR_BITS = 16 / VL };

#if FIL_TARGET_AVX512 || FIL_TARGET_AVX2
FIL_INLINE int eight_nibbles(const uint8_t *p) {
  int bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return bits;
}

FIL_INLINE __m128i eight_halves(const uint16_t *p, const uint32_t O) {
  if (O == 1) return _mm_set1_epi16((short)*p);
  if (O == 2) return _mm_set1_epi32((int)(p[0] | (uint32_t)p[1] << 16));
  if (O > 4) return _mm_loadu_si128((const __m128i *)(const void *)p);
  __m128i four = _mm_loadl_epi64((const __m128i *)(const void *)p);
  return _mm_unpacklo_epi64(four, four);
}
#endif

#if FIL_TARGET_AVX512
/* Each lane has its nibble shifted down, the lowest four bits of an index: that is a table's. */
FIL_INLINE void v_nibbles(const uint8_t *p, vf to[FOUR_BITS]) {
  const __m512i down = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
  const vf numbers = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1);
  __m512i all = _mm512_set1_epi32(eight_nibbles(p));
  all = _mm512_mask_set1_epi32(all, 0xff00, eight_nibbles(p + 4));
  to[0] = _mm512_permutexvar_ps(_mm512_srlv_epi32(all, down), numbers);
}
FIL_INLINE void v_scales(const uint16_t *p, const uint32_t O, vf to[FOUR_BITS]) {
  __m128i low = eight_halves(p, O), high = O == 16 ? eight_halves(p + 8, O) : low;
  to[0] = _mm512_cvtph_ps(_mm256_set_m128i(high, low));
}
#elif FIL_TARGET_AVX2
/* Each lane has its nibble shifted up to where its sign is, and down again. */
FIL_INLINE void v_nibbles(const uint8_t *p, vf to[FOUR_BITS]) {
  const __m256i up = _mm256_setr_epi32(28, 24, 20, 16, 12, 8, 4, 0);
  FIL_UNROLL(j, FOUR_BITS) {
    __m256i eight = _mm256_set1_epi32(eight_nibbles(p + 4 * j));
    to[j] = _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_sllv_epi32(eight, up), 28));
  }
}
FIL_INLINE void v_scales(const uint16_t *p, const uint32_t O, vf to[FOUR_BITS]) {
  to[0] = _mm256_cvtph_ps(eight_halves(p, O));
  to[1] = O == 16 ? _mm256_cvtph_ps(eight_halves(p + 8, O)) : to[0];
}
#else
#if FIL_TARGET_NEON || FIL_TARGET_NEON_FP16
/* A whole number as small as these is a half whose lower byte is 0: the upper one is a table's. */
FIL_INLINE void v_nibbles(const uint8_t *p, vf to[FOUR_BITS]) {
  const int8x16_t numbers = {0,     0x3c,  0x40,  0x42,  0x44,  0x45,  0x46,  0x47,
                             -0x38, -0x39, -0x3a, -0x3b, -0x3c, -0x3e, -0x40, -0x44};
  uint8x16_t two = vcombine_u8(vld1_u8(p), vdup_n_u8(0));
  int8x16_t low = vreinterpretq_s8_u8(vandq_u8(two, vdupq_n_u8(15)));
  int8x16_t high = vreinterpretq_s8_u8(vshrq_n_u8(two, 4)), none = vdupq_n_s8(0);
  int8x16_t upper = vqtbl1q_s8(numbers, vreinterpretq_u8_s8(vzip1q_s8(low, high)));
  int8x16_t halves[2] = {vzip1q_s8(none, upper), vzip2q_s8(none, upper)};
  FIL_UNROLL(i, 2) {
    float16x8_t eight = vreinterpretq_f16_s8(halves[i]);
    to[2 * i] = vcvt_f32_f16(vget_low_f16(eight));
    to[2 * i + 1] = vcvt_high_f32_f16(eight);
  }
}
#else
FIL_INLINE void v_nibbles(const uint8_t *p, vf to[FOUR_BITS]) {
  v128_t two = wasm_v128_load64_zero(p), high = wasm_i8x16_shr(two, 4);
  v128_t low = wasm_i8x16_shr(wasm_i8x16_shl(two, 4), 4);
  v128_t all =
      wasm_i8x16_shuffle(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  v128_t front = wasm_i16x8_extend_low_i8x16(all), back = wasm_i16x8_extend_high_i8x16(all);
  to[0] = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(front));
  to[1] = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(front));
  to[2] = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(back));
  to[3] = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(back));
}
#endif
FIL_INLINE void v_scales(const uint16_t *p, const uint32_t O, vf to[FOUR_BITS]) {
  const uint16_t two[4] = {p[0], p[O / 2 % 2], p[0], p[O / 2 % 2]};
  FIL_UNROLL(j, FOUR_BITS) to[j] = v_load_f16(O < VL ? two : p + j * VL % O);
}
#endif
#endif
