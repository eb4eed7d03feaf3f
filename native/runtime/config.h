/* Every build switch of the library, in one place. Define them to 1 on the compiler's command line.
 *
 *   FIL_HAVE_<ISA>     the kernels of that ISA (isa.def) are linked in; scalar always is
 *   FIL_NO_SELFTEST    trust the kernels: fil_isa_selftest is never called (single-ISA bundles)
 *   FIL_NO_VNNI        as on a processor with AVX-512 without VNNI, for tests
 *   FIL_NO_CRC_TABLES  CRC-32C with a 64-byte table instead of 8 KiB (eight times slower)
 *   FIL_SOFT_FLOAT     int8 results are rounded in integers, to the same bits (kernels/q8_soft.h):
 *                      by default where the compiler has floats in software only
 *   FIL_SMALL          scalar kernels of int8 in a form for cores with few registers and no cache,
 *                      by default where FIL_SOFT_FLOAT is on
 *   FIL_THUMB1         their loops are Thumb-1 assembly, by default where that is all there is
 *   FIL_PART_LOG2      log2 of the vector steps that are worth handing to another thread: about a
 *                      microsecond of them (11). Tests share out everything (0)
 *   FIL_OPS            the file with the registry's rows ("filigree/op.def": all of them); a build
 *                      for one model gives one with the rows that it uses
 */
#ifndef FIL_CONFIG_H
#define FIL_CONFIG_H

#define FIL_HAVE_SCALAR 1
#ifndef FIL_HAVE_DSP
#define FIL_HAVE_DSP 0
#endif
#ifndef FIL_HAVE_NEON
#define FIL_HAVE_NEON 0
#endif
#ifndef FIL_HAVE_NEON_DOTPROD
#define FIL_HAVE_NEON_DOTPROD 0
#endif
#ifndef FIL_HAVE_NEON_FP16
#define FIL_HAVE_NEON_FP16 0
#endif
#ifndef FIL_HAVE_WASM
#define FIL_HAVE_WASM 0
#endif
#ifndef FIL_HAVE_WASM_RELAXED
#define FIL_HAVE_WASM_RELAXED 0
#endif
#ifndef FIL_HAVE_AVX2
#define FIL_HAVE_AVX2 0
#endif
#ifndef FIL_HAVE_AVX512
#define FIL_HAVE_AVX512 0
#endif
#ifndef FIL_HAVE_HELIUM
#define FIL_HAVE_HELIUM 0
#endif
#ifndef FIL_OPS
#define FIL_OPS "filigree/op.def"
#endif
#ifndef FIL_NO_SELFTEST
#define FIL_NO_SELFTEST 0
#endif
#ifndef FIL_NO_VNNI
#define FIL_NO_VNNI 0
#endif
#if !defined FIL_SOFT_FLOAT && defined __SOFTFP__
#define FIL_SOFT_FLOAT 1
#elif !defined FIL_SOFT_FLOAT
#define FIL_SOFT_FLOAT 0
#endif
#ifndef FIL_SMALL
#define FIL_SMALL FIL_SOFT_FLOAT
#endif
#if !defined FIL_THUMB1 && defined __thumb__ && !defined __thumb2__
#define FIL_THUMB1 FIL_SMALL
#elif !defined FIL_THUMB1
#define FIL_THUMB1 0
#endif
#ifndef FIL_PART_LOG2
#define FIL_PART_LOG2 11
#endif
#ifndef FIL_NO_CRC_TABLES
#define FIL_NO_CRC_TABLES 0
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the packed model is read in place: little-endian processors only"
#endif
#endif
