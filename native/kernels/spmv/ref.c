#include "kernels/ref.h"
#include "kernels/walk.h"

/* out[r] = act(residual[r] + bias[r] + sum_k W[r][k] x[k]) */
void fil_spmv_scalar(const fil_spmv_args *a) {
  const fil_matrix *w = &a->w;
  fil_walk k = fil_walk_start(w);
  for (uint32_t g = 0; g < w->groups; g++) {
    uint32_t rows = fil_group_rows(w, g), blocks = fil_walk_group(&k), row = g * w->block_rows;
    float sum[16] = {0};
    for (uint32_t i = 0; i < blocks; i++) {
      float x = a->x[fil_walk_next(&k)];
      const float *v = k.values;
      for (uint32_t r = 0; r < w->block_rows; r++) sum[r] += v[r] * x;
    }
    for (uint32_t r = 0; r < rows; r++)
      a->out[row + r] = fil_finish(sum[r] + w->bias[row + r], &a->e, row + r);
  }
}

#define FIL_TABLE spmv
#include "kernels/table.h"
