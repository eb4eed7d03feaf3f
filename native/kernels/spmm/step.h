/* A matrix multiplied part by part: some of its groups, then those behind them. */
#ifndef FIL_SPMM_STEP_H
#define FIL_SPMM_STEP_H
#include "kernels/kernels.h"

static inline uint32_t blocks_of(const fil_matrix *w, uint32_t group) {
  return w->coding == FIL_CODING_NONE ? w->cols : w->count[group];
}

/* Step over the groups at hand, which have so many blocks; values are not looked at. */
static inline void step_over(fil_spmm_args *now, uint32_t blocks) {
  fil_matrix *w = &now->w;
  size_t rows = (size_t)w->groups * w->block_rows;
  w->bias += rows;
  now->out += rows * now->out_pitch;
  if (now->e.residual) now->e.residual += rows * now->e.residual_pitch;
  if (w->coding == FIL_CODING_NONE) return;
  w->count += w->groups;
  w->index = (const uint8_t *)w->index + (size_t)blocks * w->coding; /* D8 1, U16 2 bytes */
}
#endif
