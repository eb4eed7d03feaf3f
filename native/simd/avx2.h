/* AVX2 with FMA and F16C: see simd.h. */
#include <immintrin.h>

#define VL            8
#define FIL_REGISTERS 16
typedef __m256 vf;
typedef __m256 vm;

FIL_INLINE vf v_load(const float *p) { return _mm256_loadu_ps(p); }
FIL_INLINE vf v_load_f16(const uint16_t *p) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
FIL_INLINE void v_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
FIL_INLINE __m256i v_first(uint32_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
FIL_INLINE vf v_load_n(const float *p, uint32_t n) { return _mm256_maskload_ps(p, v_first(n)); }
FIL_INLINE void v_store_n(float *p, vf a, uint32_t n) { _mm256_maskstore_ps(p, v_first(n), a); }
FIL_INLINE vf v_set1(float a) { return _mm256_set1_ps(a); }
FIL_INLINE vf v_zero(void) { return _mm256_setzero_ps(); }
FIL_INLINE vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
FIL_INLINE vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
FIL_INLINE vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
FIL_INLINE vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
FIL_INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
FIL_INLINE vf v_min(vf a, vf b) { return _mm256_min_ps(b, a); }
FIL_INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(b, a); }
FIL_INLINE vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
FIL_INLINE vf v_neg(vf a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
FIL_INLINE vf v_sqrt(vf a) { return _mm256_sqrt_ps(a); }
FIL_INLINE vf v_round(vf a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
FIL_INLINE vm v_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
FIL_INLINE vf v_select(vm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }

FIL_INLINE vf v_pow2(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
FIL_INLINE vf v_scale2(vf a, vf n) { /* in two steps: 2^128 and 2^-152 are no floats */
  __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
  return v_mul(v_mul(a, v_pow2(half)), v_pow2(_mm256_sub_epi32(whole, half)));
}

FIL_INLINE __m128 v_halves_add(vf a) {
  return _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
}
FIL_INLINE float v_hsum(vf a) {
  __m128 b = v_halves_add(a);
  b = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
FIL_INLINE float v_hmax(vf a) {
  __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

FIL_INLINE void v_split(vf a, vf b, vf *even, vf *odd) {
  vf low = _mm256_permute2f128_ps(a, b, 0x20), high = _mm256_permute2f128_ps(a, b, 0x31);
  *even = _mm256_shuffle_ps(low, high, 0x88);
  *odd = _mm256_shuffle_ps(low, high, 0xdd);
}
FIL_INLINE void v_load2(const float *p, vf *even, vf *odd) {
  v_split(v_load(p), v_load(p + VL), even, odd);
}

#define FIL_EDGES 1
typedef struct v_edge {
  __m256i inside;
  int64_t at;
} v_edge;
FIL_INLINE v_edge v_edge_at(int64_t first, int64_t width) {
  int64_t from = first < -VL ? VL : first < 0 ? -first : 0, to = width - first;
  to = to < 0 ? 0 : to > VL ? VL : to;
  return (v_edge){_mm256_andnot_si256(v_first((uint32_t)from), v_first((uint32_t)to)), first};
}
FIL_INLINE vf v_load_edge(const float *row, const v_edge *e) {
  return _mm256_maskload_ps(row + e->at, e->inside);
}
