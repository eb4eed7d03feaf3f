#include "kernels/kernels.h"
#include "simd/scalar_math.h"

/* out = exp(x - max) / sum; in place is allowed */
static void softmax(const float *x, float *out, uint32_t n, size_t stride) {
  float max = x[0], sum = 0;
  for (uint32_t i = 1; i < n; i++) max = fil_maxf(max, x[i * stride]);
  for (uint32_t i = 0; i < n; i++) sum += out[i * stride] = fil_expf(x[i * stride] - max);
  for (uint32_t i = 0; i < n; i++) out[i * stride] /= sum;
}

void fil_softmax_scalar(const fil_softmax_args *a) {
  const fil_softmax *g = a->g;
  for (uint32_t o = 0; o < g->outer; o++)
    for (uint32_t n = 0; n < g->inner; n++) {
      size_t at = (size_t)o * g->outer_s + (size_t)n * g->inner_s;
      softmax(a->x + at, a->out + at, g->axis, g->axis_s);
    }
}

#define FIL_TABLE softmax
#include "kernels/table.h"
