#include "kernels/qconv/fill.h"

void FIL_KERNEL(qspmm)(const fil_qspmm_args *a);

void FIL_KERNEL(qconv)(const fil_qconv_args *a) { convolve(a, FIL_KERNEL(qspmm)); }
