/* Defines fil_<FIL_TABLE>_by_isa from isa.def; the last lines of every ref.c. A table lies beside
 * its scalar kernel, so that a linker that drops an op drops all of its kernels.
 * FIL_SCALAR_ALONE: there is no other, and it serves every ISA.
 * FIL_OWN_DSP, FIL_OWN_NEON_DOTPROD: that ISA has one (FIL_FILES_dsp, FIL_FILES_neon_dotprod); else
 * the scalar one serves it, or NEON's.
 * FIL_F32_ALONE: ISAs of float16 have none. */
#include "kernels/kernels.h"
#include "runtime/config.h"
#ifdef FIL_F32_ALONE
#undef FIL_HAVE_NEON_FP16
#define FIL_HAVE_NEON_FP16 0
#endif

#define FIL_NAME(kernel, isa)         FIL_NAME_(kernel, isa)
#define FIL_NAME_(kernel, isa)        fil_##kernel##_##isa
#define FIL_ENTRY(have, kernel, isa)  FIL_ENTRY_(have, kernel, isa)
#define FIL_ENTRY_(have, kernel, isa) FIL_ENTRY_##have(kernel, isa)
#define FIL_ENTRY_0(kernel, isa)      0
#ifdef FIL_SCALAR_ALONE
#define FIL_ENTRY_1(kernel, isa) fil_##kernel##_scalar
#else
#define FIL_ENTRY_1(kernel, isa) fil_##kernel##_##isa
#endif

#ifndef FIL_Q8_H /* a kernel of floats: instruction sets of int8 alone take the scalar one */
#define helium scalar
#endif

#ifndef FIL_OWN_DSP
#define dsp scalar
#endif
#ifndef FIL_OWN_NEON_DOTPROD
#define neon_dotprod neon
#endif
#define X(NAME, name, lanes) void FIL_NAME(FIL_TABLE, name)(const FIL_NAME(FIL_TABLE, args) *);
#include "filigree/isa.def"
#undef X

const FIL_NAME(FIL_TABLE, kernel) FIL_NAME(FIL_TABLE, by_isa)[FIL_ISA_COUNT] = {
#define X(NAME, name, lanes) FIL_ENTRY(FIL_HAVE_##NAME, FIL_TABLE, name),
#include "filigree/isa.def"
#undef X
};
