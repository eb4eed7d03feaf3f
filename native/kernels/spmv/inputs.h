/* What a group of a product with a vector multiplies by. */
#ifndef FIL_SPMV_INPUTS_H
#define FIL_SPMV_INPUTS_H
#include "kernels/kernels.h"
#include "simd/inline.h"

/* x, and how the index list is read: dense reads one step of one column again and again. step:
 * index bytes per block, 0 for dense. blocks: of the group. */
typedef struct inputs {
  const fx *x;
  const uint8_t *index;
  uint32_t blocks, step, column;
} inputs;

static const uint8_t next_column = 1;

FIL_INLINE inputs inputs_of(const fil_matrix *w, const fx *x) {
  int dense = w->coding == FIL_CODING_NONE;
  return (inputs){.x = x, .index = dense ? &next_column : w->index, .step = w->coding};
}

FIL_INLINE void enter_group(inputs *in, const fil_matrix *w, uint32_t i) {
  in->blocks = in->step ? w->count[i] : w->cols;
  in->column = in->step ? 0 : UINT32_MAX;
}

FIL_INLINE void leave_group(inputs *in) { in->index += (size_t)in->blocks * in->step; }

FIL_INLINE float next_x(inputs *in) {
  in->column = in->step == 2 ? *(const uint16_t *)(const void *)in->index : in->column + *in->index;
  in->index += in->step;
  return in->x[in->column];
}
#endif
