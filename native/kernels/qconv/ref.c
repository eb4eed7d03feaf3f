#include "kernels/qconv/fill.h"

uint64_t fil_qconv_scratch(const fil_conv *g, uint32_t cols) {
  (void)g;
  return (uint64_t)cols * FIL_TILE;
}

void fil_qspmm_scalar(const fil_qspmm_args *a);

/* im2col, then qspmm, a panel of FIL_TILE positions at a time */
void fil_qconv_scalar(const fil_qconv_args *a) { convolve(a, fil_qspmm_scalar); }

#define FIL_TABLE qconv
#define FIL_OWN_DSP
#define FIL_OWN_NEON_DOTPROD
#include "kernels/table.h"
