/* Walk a weight matrix in storage order, one stored block at a time. */
#ifndef FIL_WALK_H
#define FIL_WALK_H
#include "kernels/kernels.h"
#include "simd/scalar_math.h"

/* values: the block_rows weights of the last block passed. */
typedef struct fil_walk {
  const fil_matrix *w;
  const float *values;
  uint64_t block; /* blocks passed */
  uint32_t group, column;
  float wide[16];
} fil_walk;

static inline fil_walk fil_walk_start(const fil_matrix *w) { return (fil_walk){.w = w}; }

/* Enter the next group: how many blocks it stores. */
static inline uint32_t fil_walk_group(fil_walk *k) {
  uint32_t g = k->group++;
  k->column = k->w->coding == FIL_CODING_NONE ? UINT32_MAX : 0;
  return k->w->coding == FIL_CODING_NONE ? k->w->cols : k->w->count[g];
}

static inline const float *fil_walk_values(fil_walk *k, uint64_t at) {
  if (!k->w->halves) return k->w->values + at;
  for (uint32_t r = 0; r < k->w->block_rows; r++) k->wide[r] = fil_f16(k->w->halves[at + r]);
  return k->wide;
}

/* Pass a block, whose weights are not looked at: its column. */
static inline uint32_t fil_walk_column(fil_walk *k) {
  uint64_t i = k->block++;
  if (k->w->coding == FIL_CODING_U16) return ((const uint16_t *)k->w->index)[i];
  k->column += k->w->coding == FIL_CODING_D8 ? ((const uint8_t *)k->w->index)[i] : 1;
  return k->column;
}

/* Pass a block: its column. */
static inline uint32_t fil_walk_next(fil_walk *k) {
  k->values = fil_walk_values(k, k->block * k->w->block_rows);
  return fil_walk_column(k);
}

/* Rows of group g that exist: block_rows, fewer in the last group. */
static inline uint32_t fil_group_rows(const fil_matrix *w, uint32_t g) {
  uint32_t left = w->rows - g * w->block_rows;
  return left < w->block_rows ? left : w->block_rows;
}
#endif
