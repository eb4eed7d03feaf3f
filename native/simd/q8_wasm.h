/* Vectors of 16 bytes on WebAssembly: b16 bytes, s4 int32, f4 floats. */
#ifndef FIL_Q8_WASM_H
#define FIL_Q8_WASM_H
#include <wasm_simd128.h>
#include "simd/inline.h"

typedef v128_t b16;
typedef v128_t s4;
typedef v128_t f4;

FIL_INLINE b16 b16_load(const int8_t *p) { return wasm_v128_load(p); }
FIL_INLINE void b16_store(int8_t *p, b16 v) { wasm_v128_store(p, v); }
FIL_INLINE s4 s4_set1(int32_t x) { return wasm_i32x4_splat(x); }
FIL_INLINE s4 s4_sub(s4 a, s4 b) { return wasm_i32x4_sub(a, b); }
/* What is over int32 ends at the end of the range. */
FIL_INLINE s4 s4_round(f4 x) { return wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(x)); }
FIL_INLINE f4 f4_set1(float x) { return wasm_f32x4_splat(x); }
FIL_INLINE f4 f4_of(s4 x) { return wasm_f32x4_convert_i32x4(x); }
FIL_INLINE f4 f4_mul(f4 a, f4 b) { return wasm_f32x4_mul(a, b); }
FIL_INLINE f4 f4_add(f4 a, f4 b) { return wasm_f32x4_add(a, b); }

FIL_INLINE void b16_widen(b16 v, s4 to[4]) {
  v128_t low = wasm_i16x8_extend_low_i8x16(v), high = wasm_i16x8_extend_high_i8x16(v);
  to[0] = wasm_i32x4_extend_low_i16x8(low), to[1] = wasm_i32x4_extend_high_i16x8(low);
  to[2] = wasm_i32x4_extend_low_i16x8(high), to[3] = wasm_i32x4_extend_high_i16x8(high);
}
/* Plus `zero`; what does not fit ends at the end of the range. */
FIL_INLINE b16 b16_pack(const s4 v[4], int16_t zero) {
  v128_t z = wasm_i16x8_splat(zero);
  v128_t low = wasm_i16x8_add_sat(wasm_i16x8_narrow_i32x4(v[0], v[1]), z);
  return wasm_i8x16_narrow_i16x8(low, wasm_i16x8_add_sat(wasm_i16x8_narrow_i32x4(v[2], v[3]), z));
}
FIL_INLINE b16 b16_between(b16 v, int8_t lo, int8_t hi) {
  return wasm_i8x16_min(wasm_i8x16_max(v, wasm_i8x16_splat(lo)), wasm_i8x16_splat(hi));
}
#endif
