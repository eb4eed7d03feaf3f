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
FIL_INLINE __m128i sixteen_bytes(const uint8_t *p) {
  const __m128i signs = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1);
  __m128i two = _mm_loadl_epi64((const __m128i *)(const void *)p), low = _mm_set1_epi8(15);
  __m128i high = _mm_srli_epi16(two, 4);
  return _mm_shuffle_epi8(signs, _mm_and_si128(_mm_unpacklo_epi8(two, high), low));
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
FIL_INLINE void v_nibbles(const uint8_t *p, vf to[FOUR_BITS]) {
  to[0] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(sixteen_bytes(p)));
}
FIL_INLINE void v_scales(const uint16_t *p, const uint32_t O, vf to[FOUR_BITS]) {
  __m128i low = eight_halves(p, O), high = O == 16 ? eight_halves(p + 8, O) : low;
  to[0] = _mm512_cvtph_ps(_mm256_set_m128i(high, low));
}
#elif FIL_TARGET_AVX2
FIL_INLINE void v_nibbles(const uint8_t *p, vf to[FOUR_BITS]) {
  __m128i all = sixteen_bytes(p);
  to[0] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(all));
  to[1] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(all, all)));
}
FIL_INLINE void v_scales(const uint16_t *p, const uint32_t O, vf to[FOUR_BITS]) {
  to[0] = _mm256_cvtph_ps(eight_halves(p, O));
  to[1] = O == 16 ? _mm256_cvtph_ps(eight_halves(p + 8, O)) : to[0];
}
#else
#if FIL_TARGET_NEON || FIL_TARGET_NEON_FP16
FIL_INLINE void v_nibbles(const uint8_t *p, vf to[FOUR_BITS]) {
  int8x8_t two = vreinterpret_s8_u8(vld1_u8(p));
  int8x8x2_t all = vzip_s8(vshr_n_s8(vshl_n_s8(two, 4), 4), vshr_n_s8(two, 4));
  FIL_UNROLL(i, 2) {
    int16x8_t eight = vmovl_s8(all.val[i]);
    to[2 * i] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(eight)));
    to[2 * i + 1] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(eight)));
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
