#include "kernels/nibbles.h"
#include "kernels/ref.h"

/* out[r][p] = act(residual[r][p] + bias[r] + sum_k W[r][k] x[k][p]) */
void fil_spmm4_scalar(const fil_spmm4_args *a) {
  const fil_matrix *w = &a->w;
  const uint8_t *nibbles = w->nibbles;
  const uint16_t *scales = w->scales;
  uint32_t P = a->positions, O = w->block_rows;
  fil_walk k = fil_walk_start(w);
  for (uint32_t g = 0; g < w->groups; g++) {
    uint32_t rows = fil_group_rows(w, g), blocks = fil_walk_group(&k);
    float *out = a->out + (size_t)g * O * a->out_pitch, v[16];
    size_t pitch = a->out_pitch, residual = (size_t)g * O * a->e.residual_pitch;
    for (uint32_t r = 0; r < rows; r++)
      for (uint32_t p = 0; p < P; p++) out[r * pitch + p] = w->bias[g * O + r];
    for (uint32_t i = 0; i < blocks; i++) {
      const float *x = a->x + (size_t)fil_walk_column(&k) * a->x_pitch;
      fil_nibble_block(nibbles, scales, O, i, v);
      for (uint32_t r = 0; r < rows; r++)
        for (uint32_t p = 0; p < P; p++) out[r * pitch + p] += v[r] * x[p];
    }
    nibbles += fil_nibble_bytes(blocks, O), scales += (size_t)fil_nibble_runs(blocks) * O;
    for (uint32_t r = 0; r < rows; r++)
      for (uint32_t p = 0; p < P; p++) {
        float *y = &out[r * pitch + p];
        *y = fil_finish(*y, &a->e, residual + (size_t)r * a->e.residual_pitch + p);
      }
  }
}

#define FIL_TABLE     spmm4
#define FIL_F32_ALONE 1
#include "kernels/table.h"
