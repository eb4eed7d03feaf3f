#include "kernels/nibbles.h"
#include "kernels/ref.h"

/* out[r] = act(residual[r] + bias[r] + sum_k W[r][k] x[k]) */
void fil_spmv4_scalar(const fil_spmv4_args *a) {
  const fil_matrix *w = &a->w;
  const uint8_t *nibbles = w->nibbles;
  const uint16_t *scales = w->scales;
  fil_walk k = fil_walk_start(w);
  for (uint32_t g = 0, O = w->block_rows; g < w->groups; g++) {
    uint32_t rows = fil_group_rows(w, g), blocks = fil_walk_group(&k), row = g * O;
    float sum[16] = {0}, v[16];
    for (uint32_t i = 0; i < blocks; i++) {
      float x = a->x[fil_walk_column(&k)];
      fil_nibble_block(nibbles, scales, O, i, v);
      for (uint32_t r = 0; r < O; r++) sum[r] += v[r] * x;
    }
    nibbles += fil_nibble_bytes(blocks, O), scales += (size_t)fil_nibble_runs(blocks) * O;
    for (uint32_t r = 0; r < rows; r++)
      a->out[row + r] = fil_finish(sum[r] + w->bias[row + r], &a->e, row + r);
  }
}

#define FIL_TABLE     spmv4
#define FIL_F32_ALONE 1
#include "kernels/table.h"
