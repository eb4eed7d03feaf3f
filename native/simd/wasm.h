/* WebAssembly SIMD128, with fused multiply-add where relaxed SIMD is allowed: see simd.h. */
#include <wasm_simd128.h>

#define VL            4
#define FIL_REGISTERS 15 /* what engines leave of the 16 of x86 */
typedef v128_t vf;
typedef v128_t vm;

FIL_INLINE vf v_load(const float *p) { return wasm_v128_load(p); }
FIL_INLINE vf v_load_f16(const uint16_t *p) { /* the exponent moves by a product: 15 to 127 */
  v128_t half = wasm_u32x4_load16x4(p);
  v128_t sign = wasm_i32x4_shl(wasm_v128_and(half, wasm_i32x4_const_splat(0x8000)), 16);
  v128_t size = wasm_i32x4_shl(wasm_v128_and(half, wasm_i32x4_const_splat(0x7fff)), 13);
  return wasm_v128_or(sign, wasm_f32x4_mul(size, wasm_f32x4_const_splat(0x1p112f)));
}
FIL_INLINE void v_store(float *p, vf a) { wasm_v128_store(p, a); }
FIL_INLINE vf v_set1(float a) { return wasm_f32x4_splat(a); }
FIL_INLINE vf v_zero(void) { return wasm_f32x4_const_splat(0); }
FIL_INLINE vf v_add(vf a, vf b) { return wasm_f32x4_add(a, b); }
FIL_INLINE vf v_sub(vf a, vf b) { return wasm_f32x4_sub(a, b); }
FIL_INLINE vf v_mul(vf a, vf b) { return wasm_f32x4_mul(a, b); }
FIL_INLINE vf v_div(vf a, vf b) { return wasm_f32x4_div(a, b); }
#if FIL_TARGET_WASM_RELAXED
FIL_INLINE vf v_fma(vf a, vf b, vf c) { return wasm_f32x4_relaxed_madd(a, b, c); }
#else
FIL_INLINE vf v_fma(vf a, vf b, vf c) { return v_add(v_mul(a, b), c); }
#endif
FIL_INLINE vf v_min(vf a, vf b) { return wasm_f32x4_pmin(a, b); }
FIL_INLINE vf v_max(vf a, vf b) { return wasm_f32x4_pmax(a, b); }
FIL_INLINE vf v_abs(vf a) { return wasm_f32x4_abs(a); }
FIL_INLINE vf v_neg(vf a) { return wasm_f32x4_neg(a); }
FIL_INLINE vf v_sqrt(vf a) { return wasm_f32x4_sqrt(a); }
FIL_INLINE vf v_round(vf a) { return wasm_f32x4_nearest(a); }
FIL_INLINE vm v_lt(vf a, vf b) { return wasm_f32x4_lt(a, b); }
FIL_INLINE vf v_select(vm m, vf a, vf b) { return wasm_v128_bitselect(a, b, m); }

FIL_INLINE float v_hsum(vf a) {
  vf b = v_add(a, wasm_i32x4_shuffle(a, a, 2, 3, 0, 1));
  return wasm_f32x4_extract_lane(b, 0) + wasm_f32x4_extract_lane(b, 1);
}
FIL_INLINE float v_hmax(vf a) {
  vf b = v_max(a, wasm_i32x4_shuffle(a, a, 2, 3, 0, 1));
  return wasm_f32x4_extract_lane(v_max(b, wasm_i32x4_shuffle(b, b, 1, 0, 3, 2)), 0);
}

FIL_INLINE vf v_load_n(const float *p, uint32_t n) {
  if (n >= VL) return v_load(p);
  vf a = v_zero();
  if (n > 0) a = wasm_v128_load32_lane(p, a, 0);
  if (n > 1) a = wasm_v128_load32_lane(p + 1, a, 1);
  if (n > 2) a = wasm_v128_load32_lane(p + 2, a, 2);
  return a;
}
FIL_INLINE void v_store_n(float *p, vf a, uint32_t n) {
  if (n >= VL) {
    v_store(p, a);
    return;
  }
  if (n > 0) wasm_v128_store32_lane(p, a, 0);
  if (n > 1) wasm_v128_store32_lane(p + 1, a, 1);
  if (n > 2) wasm_v128_store32_lane(p + 2, a, 2);
}

FIL_INLINE vf v_pow2(v128_t n) {
  return wasm_i32x4_shl(wasm_i32x4_add(n, wasm_i32x4_const_splat(127)), 23);
}
FIL_INLINE vf v_scale2(vf a, vf n) { /* in two steps: 2^128 and 2^-152 are no floats */
  v128_t whole = wasm_i32x4_trunc_sat_f32x4(n), half = wasm_i32x4_shr(whole, 1);
  return v_mul(v_mul(a, v_pow2(half)), v_pow2(wasm_i32x4_sub(whole, half)));
}

FIL_INLINE void v_split(vf a, vf b, vf *even, vf *odd) {
  *even = wasm_i32x4_shuffle(a, b, 0, 2, 4, 6);
  *odd = wasm_i32x4_shuffle(a, b, 1, 3, 5, 7);
}
FIL_INLINE void v_load2(const float *p, vf *even, vf *odd) {
  v_split(v_load(p), v_load(p + VL), even, odd);
}

/* A vector inside the row, and the byte of it, or more than 127 for 0, that each byte comes from.
 */
#define FIL_EDGES 1
typedef struct v_edge {
  v128_t bytes;
  size_t at;
} v_edge;
FIL_INLINE v_edge v_edge_at(int64_t first, int64_t width) {
  int64_t last = width - VL, at = first < 0 ? 0 : first > last ? last : first;
  v128_t lane = wasm_i32x4_add(wasm_i32x4_const(0, 1, 2, 3), wasm_i32x4_splat((int)(first - at)));
  v128_t in =
      wasm_v128_and(wasm_i32x4_ge(lane, v_zero()), wasm_i32x4_lt(lane, wasm_i32x4_const_splat(VL)));
  v128_t bytes = wasm_i32x4_add(wasm_i32x4_mul(lane, wasm_i32x4_const_splat(0x04040404)),
                                wasm_i32x4_const_splat(0x03020100));
  return (v_edge){wasm_v128_bitselect(bytes, wasm_i32x4_const_splat(-1), in), (size_t)at};
}
FIL_INLINE vf v_load_edge(const float *row, const v_edge *e) {
#if FIL_TARGET_WASM_RELAXED
  return wasm_i8x16_relaxed_swizzle(v_load(row + e->at), e->bytes);
#else
  return wasm_i8x16_swizzle(v_load(row + e->at), e->bytes);
#endif
}
