#include "kernels/ref.h"

static float reduced(const fil_reduce *g, const float *x) {
  float sum = 0, max = x[0];
  for (uint32_t r = 0; r < g->reduce; r++) {
    float v = x[(size_t)r * g->reduce_s];
    sum += v;
    max = fil_maxf(max, v);
  }
  if (g->fn == FIL_REDUCE_MAX) return max;
  return g->fn == FIL_REDUCE_MEAN ? sum / (float)g->reduce : sum;
}

void fil_reduce_scalar(const fil_reduce_args *a) {
  const fil_reduce *g = a->g;
  for (uint32_t o = 0; o < g->outer; o++)
    for (uint32_t n = 0; n < g->inner; n++) {
      float v = reduced(g, a->x + (size_t)o * g->outer_s + (size_t)n * g->inner_s);
      a->out[(size_t)o * g->outer_so + (size_t)n * g->inner_so] = fil_finish(v, &a->e, 0);
    }
}

#define FIL_TABLE reduce
#include "kernels/table.h"
