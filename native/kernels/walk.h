/* Walk a weight matrix in storage order, one stored block at a time. */
#ifndef FIL_WALK_H
#define FIL_WALK_H
#include "kernels/kernels.h"

/* values: the block_rows weights of the block to come. */
typedef struct fil_walk {
  const fil_matrix *w;
  const float *values;
  uint64_t block; /* blocks passed */
  uint32_t group, column;
} fil_walk;

static inline fil_walk fil_walk_start(const fil_matrix *w) {
  return (fil_walk){.w = w, .values = w->values};
}

/* Enter the next group: how many blocks it stores. */
static inline uint32_t fil_walk_group(fil_walk *k) {
  uint32_t g = k->group++;
  k->column = k->w->coding == FIL_CODING_NONE ? UINT32_MAX : 0;
  return k->w->coding == FIL_CODING_NONE ? k->w->cols : k->w->count[g];
}

/* Pass a block: its column. k->values then points behind it. */
static inline uint32_t fil_walk_next(fil_walk *k) {
  uint64_t i = k->block++;
  k->values += k->w->block_rows;
  if (k->w->coding == FIL_CODING_U16) return ((const uint16_t *)k->w->index)[i];
  k->column += k->w->coding == FIL_CODING_D8 ? ((const uint8_t *)k->w->index)[i] : 1;
  return k->column;
}

/* Rows of group g that exist: block_rows, fewer in the last group. */
static inline uint32_t fil_group_rows(const fil_matrix *w, uint32_t g) {
  uint32_t left = w->rows - g * w->block_rows;
  return left < w->block_rows ? left : w->block_rows;
}
#endif
