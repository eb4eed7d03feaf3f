/* A group of an int8 matrix and the planes of its quads. */
#ifndef FIL_QSPMM_COLUMNS_H
#define FIL_QSPMM_COLUMNS_H
#include "kernels/q8.h"
#include "simd/inline.h"

/* start: what each row's sum starts at. */
typedef struct group {
  const int8_t *quads;
  const uint8_t *index;
  uint32_t row, blocks;
  int32_t start[16];
} group;

/* x: of the column passed last. */
typedef struct columns {
  const uint8_t *index;
  const int8_t *first, *x;
  size_t pitch;
} columns;

FIL_INLINE columns columns_of(const fil_qspmm_args *a, const group *g) {
  int dense = a->w.coding == FIL_CODING_NONE;
  return (columns){g->index, a->x, dense ? a->x - a->x_pitch : a->x, a->x_pitch};
}

FIL_INLINE const int8_t *next_column(columns *c, const fil_coding coding) {
  if (coding == FIL_CODING_NONE) return c->x += c->pitch;
  if (coding == FIL_CODING_D8) return c->x += *c->index++ * c->pitch;
  c->x = c->first + *(const uint16_t *)(const void *)c->index * c->pitch;
  c->index += 2;
  return c->x;
}

/* The planes of the next quad, `left` columns from the end; those past it are the last one. */
FIL_INLINE void next_quad(columns *c, uint32_t left, const fil_coding coding,
                          const int8_t *x[FIL_QUAD]) {
  if (left >= FIL_QUAD) {
    FIL_UNROLL(j, FIL_QUAD) x[j] = next_column(c, coding);
    return;
  }
  FIL_UNROLL(j, FIL_QUAD) x[j] = j < left ? next_column(c, coding) : c->x;
}

/* call(..., R, coding) for every pass over the rows of a group, R and coding constant. */
#define EACH_PASS(a, g, call)                                                                      \
  switch ((fil_coding)(a)->w.coding) {                                                             \
  case FIL_CODING_NONE: EACH_ROWS(a, g, call, FIL_CODING_NONE); break;                             \
  case FIL_CODING_D8: EACH_ROWS(a, g, call, FIL_CODING_D8); break;                                 \
  default: EACH_ROWS(a, g, call, FIL_CODING_U16); break;                                           \
  }
#define EACH_ROWS(a, g, call, coding)                                                              \
  if ((a)->w.block_rows == 1) call(0, 1, coding);                                                  \
  else if ((a)->w.block_rows == 2) call(0, 2, coding);                                             \
  else                                                                                             \
    for (uint32_t r = 0; r < (a)->w.block_rows && (g)->row + r < (a)->w.rows; r += 4)              \
    call(r, 4, coding)

FIL_INLINE int32_t four_of(const int8_t *w) {
  int32_t four;
  __builtin_memcpy(&four, w, sizeof four);
  return four;
}

FIL_INLINE group first_group(const fil_matrix *w) {
  return (group){.quads = w->quads, .index = w->index};
}

FIL_INLINE void enter_group(const fil_matrix *w, group *g, uint32_t i) {
  g->row = i * w->block_rows;
  g->blocks = w->coding == FIL_CODING_NONE ? w->cols : w->count[i];
  for (uint32_t r = 0; r < w->block_rows; r++) g->start[r] = w->sums[g->row + r];
}

FIL_INLINE void leave_group(const fil_matrix *w, group *g) {
  g->quads += (size_t)fil_quads(g->blocks) * w->block_rows * FIL_QUAD;
  if (w->coding != FIL_CODING_NONE) g->index += (size_t)g->blocks * w->coding;
}
#endif
