/* What activations are made of: fx, float32 but for kernels of an ISA of float16. The rest of the
 * library only passes pointers to them on. */
#ifndef FIL_ELEMENT_H
#define FIL_ELEMENT_H
#ifndef FIL_CDEF
#include <stdint.h>
#endif
#if FIL_TARGET_NEON_FP16
typedef __fp16 fx;
#else
typedef float fx;
#endif
#endif
