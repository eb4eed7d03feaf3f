/* The SIMD vocabulary: one vector type of VL floats per instruction set, and what kernels do with
 * it. A kernel file includes this, is compiled once per ISA with -DFIL_ISA_TARGET=<isa> and
 * -DFIL_TARGET_<ISA>=1, and defines FIL_KERNEL(name), that is fil_<name>_<isa>.
 *
 * Activations are of type fx (kernels/kernels.h), weights of type fw: float32, and lanes too, but
 * for an ISA of float16 (FIL_LANES_F16). A file that defines FIL_IN_F32 has lanes of float32 there
 * as well: what it loads is widened and what it stores rounded.
 *
 *   vf, VL                      the vector and its lanes; FIL_REGISTERS: how many the ISA has
 *   v_load v_store              VL elements, any alignment
 *   v_load_f32 v_store_f32 and _n   the same of floats, whatever fx is; not FIL_LANES_F16
 *   v_load_n v_store_n          the first n <= VL lanes; nothing else is touched, other lanes are 0
 *   v_load_f16                  VL halves, widened exactly (those that are not finite: any number)
 *   v_load2                     2 * VL elements: those at even places, those at odd places
 *   FIL_EDGES                   whether there is also: v_split (v_load2 of two vectors), v_edge_at
 *                               and v_load_edge (VL columns of a row of at least VL, 0 for those
 *                               outside, of which nothing is read)
 *   FIL_HALF                    lanes of half a vector, hf, if the ISA has one: 0 or h_ as v_
 *   FIL_MASKED                  whether there is also: v_load_m v_store_m (the lanes of a vm; the
 *                               others are 0, and not touched), v_load2_m (of each half), v_first
 *   v_load_weights, v_weight    n in {1, 2, 4, 8} weights to multiply whole vectors by; the i-th of
 *                               them in every lane, i constant
 *   v_set1 v_zero v_add v_sub v_mul v_div v_sqrt v_abs v_neg
 *   v_fma(a, b, c)              a * b + c, fused where the ISA can
 *   v_min(a, b) v_max(a, b)     b < a ? b : a and a < b ? b : a, so a NaN in a stays
 *   v_lt(a, b), v_select(m, a, b)
 *   v_round                     to nearest, ties to even
 *   v_scale2(a, n)              a * 2^n for whole n in [-152, 128], over- and underflow included
 *   v_hsum v_hmax               of all lanes
 *   vs, s_zero s_add s_div      a vector of float32 sums, and its quotient as a vector
 */
#ifndef FIL_SIMD_H
#define FIL_SIMD_H
#include "kernels/element.h"
#include "simd/inline.h"

#if FIL_TARGET_AVX512
#include "simd/avx512.h"
#elif FIL_TARGET_AVX2
#include "simd/avx2.h"
#elif FIL_TARGET_NEON_FP16 && !FIL_IN_F32
#include "simd/neon_fp16.h"
#elif FIL_TARGET_NEON || FIL_TARGET_NEON_FP16
#include "simd/neon.h"
#elif FIL_TARGET_WASM || FIL_TARGET_WASM_RELAXED
#include "simd/wasm.h"
#else
#error "no SIMD header for this FIL_ISA_TARGET"
#endif
#if !FIL_LANES_F16
#define FIL_LANES_F16 0
typedef float fw;
typedef vf vs;
FIL_INLINE vs s_zero(void) { return v_zero(); }
FIL_INLINE vs s_add(vs s, vf a) { return v_add(s, a); }
FIL_INLINE vf s_div(vs s, float by) { return v_div(s, v_set1(by)); }
#endif
#ifndef FIL_HALF
#define FIL_HALF 0
typedef vf hf;
FIL_INLINE hf h_narrow(vf a) { return a; }
FIL_INLINE hf h_load(const fx *p) { return v_load(p); }
FIL_INLINE void h_store(fx *p, hf a) { v_store(p, a); }
FIL_INLINE hf h_min(hf a, hf b) { return v_min(a, b); }
FIL_INLINE hf h_max(hf a, hf b) { return v_max(a, b); }
FIL_INLINE hf h_fma(hf a, hf b, hf c) { return v_fma(a, b, c); }
#endif

#if !FIL_TARGET_NEON_FP16 && !FIL_TARGET_NEON
FIL_INLINE vf v_load_f32(const float *p) { return v_load(p); }
FIL_INLINE vf v_load_f32_n(const float *p, uint32_t n) { return v_load_n(p, n); }
FIL_INLINE void v_store_f32(float *p, vf a) { v_store(p, a); }
FIL_INLINE void v_store_f32_n(float *p, vf a, uint32_t n) { v_store_n(p, a, n); }
#endif

#ifndef FIL_WEIGHTS /* a load copies one float to all lanes, or a multiply-add does so itself */
typedef const float *v_weights;
FIL_INLINE v_weights v_load_weights(const float *p, uint32_t n) { return (void)n, p; }
FIL_INLINE vf v_weight(v_weights w, size_t i) { return v_set1(w[i]); }
#endif
#endif
