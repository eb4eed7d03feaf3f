/* Names and inlining of what is compiled once per ISA. */
#ifndef FIL_INLINE_H
#define FIL_INLINE_H
#include <stdint.h>

#define FIL_PASTE_(a, b, c) a##b##_##c
#define FIL_PASTE(a, b, c)  FIL_PASTE_(a, b, c)
#define FIL_KERNEL(name)    FIL_PASTE(fil_, name, FIL_ISA_TARGET)

/* Bodies that are inlined once per set of constants; what only the outermost caller may grow by. */
#define FIL_INLINE static inline __attribute__((always_inline))

/* for i in [0, n), n constant and small: unrolled whole, so that arrays of vectors become
 * registers. i is unsigned: a sanitizer's overflow test on every step would take clang minutes. */
#ifdef __clang__
#define FIL_UNROLL_WHOLE _Pragma("clang loop unroll(full)")
#else
#define FIL_UNROLL_WHOLE _Pragma("GCC unroll 32")
#endif
#ifdef __clang__ /* the loop that follows stays as it is */
#define FIL_ONE_BY_ONE _Pragma("clang loop unroll(disable)")
#else
#define FIL_ONE_BY_ONE _Pragma("GCC unroll 1")
#endif
#define FIL_UNROLL(i, n) FIL_UNROLL_WHOLE for (size_t i = 0; i < (n); i++)
#endif
