/* AVX-512 (F, VL, BW, DQ): see simd.h. */
#include <immintrin.h>

#define VL            16
#define FIL_REGISTERS 32
#ifdef __SANITIZE_ADDRESS__
#define FIL_MASKED 0 /* that sanitizer tests every lane of a masked access: minutes to compile */
#elif defined(__clang__)
#if __has_feature(address_sanitizer)
#define FIL_MASKED 0
#endif
#endif
#ifndef FIL_MASKED
#define FIL_MASKED 1
#endif
typedef __m512 vf;
typedef __mmask16 vm;

FIL_INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
FIL_INLINE vf v_load_f16(const uint16_t *p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
FIL_INLINE void v_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
FIL_INLINE vm v_first(uint32_t n) { return (vm)((1u << n) - 1); }
FIL_INLINE vf v_load_n(const float *p, uint32_t n) { return _mm512_maskz_loadu_ps(v_first(n), p); }
FIL_INLINE void v_store_n(float *p, vf a, uint32_t n) { _mm512_mask_storeu_ps(p, v_first(n), a); }
FIL_INLINE vf v_narrow(vf a) { return a; }
FIL_INLINE vf v_load_m(const float *p, vm m) { return _mm512_maskz_loadu_ps(m, p); }
FIL_INLINE void v_store_m(float *p, vf a, vm m) { _mm512_mask_storeu_ps(p, m, a); }
FIL_INLINE vf v_set1(float a) { return _mm512_set1_ps(a); }
FIL_INLINE vf v_zero(void) { return _mm512_setzero_ps(); }
FIL_INLINE vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
FIL_INLINE vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
FIL_INLINE vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
FIL_INLINE vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
FIL_INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
FIL_INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(b, a); }
FIL_INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(b, a); }
FIL_INLINE vf v_abs(vf a) { return _mm512_abs_ps(a); }
FIL_INLINE vf v_neg(vf a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
FIL_INLINE vf v_sqrt(vf a) { return _mm512_sqrt_ps(a); }
FIL_INLINE vf v_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT); }
FIL_INLINE vf v_scale2(vf a, vf n) { return _mm512_scalef_ps(a, n); }
FIL_INLINE vm v_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
FIL_INLINE vf v_select(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); }
FIL_INLINE float v_hsum(vf a) { return _mm512_reduce_add_ps(a); }
FIL_INLINE float v_hmax(vf a) { return _mm512_reduce_max_ps(a); }

FIL_INLINE void v_load2_m(const float *p, vm low, vm high, vf *even, vf *odd) {
  const __m512i e = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i o = _mm512_add_epi32(e, _mm512_set1_epi32(1));
  vf a = v_load_m(p, low), b = v_load_m(p + VL, high);
  *even = _mm512_permutex2var_ps(a, e, b);
  *odd = _mm512_permutex2var_ps(a, o, b);
}
FIL_INLINE void v_load2(const float *p, vf *even, vf *odd) {
  v_load2_m(p, (vm)-1, (vm)-1, even, odd);
}

/* Half a vector, for what is too narrow for a whole one: h_ as v_. */
#define FIL_HALF 8
typedef __m256 hf;

FIL_INLINE hf h_narrow(vf a) { return _mm512_castps512_ps256(a); }
FIL_INLINE hf h_load(const float *p) { return _mm256_loadu_ps(p); }
FIL_INLINE void h_store(float *p, hf a) { _mm256_storeu_ps(p, a); }
FIL_INLINE hf h_load_m(const float *p, vm m) { return _mm256_maskz_loadu_ps((__mmask8)m, p); }
FIL_INLINE void h_store_m(float *p, hf a, vm m) { _mm256_mask_storeu_ps(p, (__mmask8)m, a); }
FIL_INLINE hf h_set1(float a) { return _mm256_set1_ps(a); }
FIL_INLINE hf h_min(hf a, hf b) { return _mm256_min_ps(b, a); }
FIL_INLINE hf h_max(hf a, hf b) { return _mm256_max_ps(b, a); }
FIL_INLINE hf h_fma(hf a, hf b, hf c) { return _mm256_fmadd_ps(a, b, c); }
FIL_INLINE void h_load2_m(const float *p, vm low, vm high, hf *even, hf *odd) {
  const __m256i e = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
  const __m256i o = _mm256_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15);
  hf a = h_load_m(p, low), b = h_load_m(p + FIL_HALF, high);
  *even = _mm256_permutex2var_ps(a, e, b);
  *odd = _mm256_permutex2var_ps(a, o, b);
}
