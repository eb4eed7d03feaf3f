/* Which outputs of a row read inside the input, for both im2cols. */
#ifndef FIL_CONV_SPAN_H
#define FIL_CONV_SPAN_H
#include "kernels/kernels.h"

/* Outputs [from, to) of the n of one output row read inside the input row. */
typedef struct span {
  uint32_t from, to;
} span;

/* How many steps reach `distance` or pass it. */
static inline uint32_t steps_to(uint32_t distance, uint32_t step) {
  if (step <= 2) return (distance + step - 1) >> (step - 1); /* no division where it counts */
  return (distance + step - 1) / step;
}

/* first: the input column of the span's first output, before the input if negative. */
static inline span inside(const fil_conv *g, int32_t first, uint32_t n) {
  int32_t width = (int32_t)g->in_w;
  uint32_t from = first < 0 ? steps_to((uint32_t)-first, g->sw) : 0;
  uint32_t to = first < width ? steps_to((uint32_t)(width - first), g->sw) : 0;
  if (to > n) to = n;
  if (from > to) from = to;
  return (span){from, to};
}
#endif
