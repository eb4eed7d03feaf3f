#include "kernels/q8.h"

static void softmax(const fil_qsoftmax_args *a, const int8_t *x, int8_t *out) {
  uint32_t n = a->g->axis;
  size_t step = a->g->axis_s;
  int32_t most = INT32_MIN;
  float sum = 0;
  for (uint32_t i = 0; i < n; i++) most = x[i * step] > most ? x[i * step] : most;
  for (uint32_t i = 0; i < n; i++) sum = sum + a->powers[most - x[i * step]];
  float scale = 1.0f / (sum * a->scale);
  for (uint32_t i = 0; i < n; i++)
    out[i * step] = fil_rescaled(a->powers[most - x[i * step]] * scale, &a->q);
}

void fil_qsoftmax_scalar(const fil_qsoftmax_args *a) {
  const fil_softmax *g = a->g;
  for (uint32_t o = 0; o < g->outer; o++)
    for (uint32_t n = 0; n < g->inner; n++) {
      size_t at = (size_t)o * g->outer_s + (size_t)n * g->inner_s;
      softmax(a, a->x + at, a->out + at);
    }
}

#define FIL_TABLE qsoftmax
#define FIL_SCALAR_ALONE
#include "kernels/table.h"
