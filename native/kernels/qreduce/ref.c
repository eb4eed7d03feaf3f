#include "kernels/q8.h"

/* out[o][n] = fn over r of x[o][r][n] */
void fil_qreduce_scalar(const fil_qreduce_args *a) {
  const fil_reduce *g = a->g;
  for (uint32_t o = 0; o < g->outer; o++)
    for (uint32_t n = 0; n < g->inner; n++) {
      const int8_t *x = a->x + (size_t)o * g->outer_s + (size_t)n * g->inner_s;
      int8_t *out = &a->out[(size_t)o * g->outer_so + (size_t)n * g->inner_so];
      int32_t sum = 0, most = INT32_MIN;
      for (uint32_t r = 0; r < g->reduce; r++) {
        int32_t v = x[(size_t)r * g->reduce_s];
        most = v > most ? v : most;
        sum += v - a->x_zero;
      }
      *out = g->fn == FIL_REDUCE_MAX ? fil_kept(most, &a->q)
                                     : fil_rescaled((float)sum * a->multiplier, &a->q);
    }
}

#define FIL_TABLE qreduce
#include "kernels/table.h"
