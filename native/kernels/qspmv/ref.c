#include "kernels/q8.h"
#include "kernels/walk.h"

/* out[r] = requantized(sums[r] + sum_k W[r][k] x[k]) */
void fil_qspmv_scalar(const fil_qspmv_args *a) {
  const fil_matrix *w = &a->w;
  const int8_t *quads = w->quads;
  fil_walk k = fil_walk_start(w);
  for (uint32_t g = 0, O = w->block_rows; g < w->groups; g++) {
    uint32_t rows = fil_group_rows(w, g), blocks = fil_walk_group(&k), row = g * O;
    int32_t sum[16];
    for (uint32_t r = 0; r < rows; r++) sum[r] = w->sums[row + r];
    for (uint32_t i = 0; i < blocks; i++) {
      int32_t x = a->x[fil_walk_column(&k)];
      const int8_t *v = quads + (size_t)(i / FIL_QUAD) * O * FIL_QUAD + i % FIL_QUAD;
      for (uint32_t r = 0; r < rows; r++) sum[r] += v[r * FIL_QUAD] * x;
    }
    quads += (size_t)fil_quads(blocks) * O * FIL_QUAD;
    for (uint32_t r = 0; r < rows; r++, row++) {
      fil_factor f = fil_factor_of(w->multipliers[row], &a->q);
      const int8_t *y = a->residual ? a->residual + row : 0;
      fil_row_requantized(a->out + row, &sum[r], 1, &f, y, &a->q);
    }
  }
}

#define FIL_TABLE qspmv
#define FIL_OWN_DSP
#define FIL_OWN_NEON_DOTPROD
#include "kernels/table.h"
