#include "kernels/q8.h"
#include "kernels/walk.h"
#if FIL_SMALL
#include "kernels/qspmm/small.h"
#endif

enum { T = 16 }; /* positions at a time: their sums are on the stack */

/* Weights of quad i, row r: quads[(i * O + r) * 4 ...]. Columns of the last quad that are not there
 * are the one before, their weights 0. */
static void sum_group(const fil_qspmm_args *a, fil_walk *k, const int8_t *w, uint32_t blocks,
                      uint32_t p, uint32_t n, int32_t sum[16][T]) {
  uint32_t O = a->w.block_rows, column = 0;
  for (uint32_t i = 0; i < blocks; w += O * FIL_QUAD) {
    const int8_t *x[FIL_QUAD];
    for (int j = 0; j < FIL_QUAD; j++, i++) {
      if (i < blocks) column = fil_walk_column(k);
      x[j] = a->x + (size_t)column * a->x_pitch + p;
    }
    for (uint32_t r = 0; r < O; r++)
      for (uint32_t t = 0; t < n; t++)
        for (int j = 0; j < FIL_QUAD; j++) sum[r][t] += w[r * FIL_QUAD + j] * x[j][t];
  }
}

static void sum_tile(const fil_qspmm_args *a, uint32_t p, uint32_t n) {
  const fil_matrix *w = &a->w;
  const int8_t *quads = w->quads;
  fil_walk k = fil_walk_start(w);
  for (uint32_t g = 0, O = w->block_rows; g < w->groups; g++) {
    uint32_t rows = fil_group_rows(w, g), blocks = fil_walk_group(&k);
    int32_t sum[16][T];
    for (uint32_t r = 0; r < O; r++)
      for (uint32_t t = 0; t < n; t++) sum[r][t] = w->sums[g * O + r];
    sum_group(a, &k, quads, blocks, p, n, sum);
    quads += (size_t)fil_quads(blocks) * O * FIL_QUAD;
    for (uint32_t r = 0; r < rows; r++) {
      size_t row = (size_t)g * O + r;
      const int8_t *y = a->residual ? a->residual + row * a->residual_pitch + p : 0;
      fil_factor f = fil_factor_of(w->multipliers[row], &a->q);
      fil_row_requantized(a->out + row * a->out_pitch + p, sum[r], n, &f, y, &a->q);
    }
  }
}

/* out[r][p] = requantized(sums[r] + sum_k W[r][k] x[k][p]) */
void fil_qspmm_scalar(const fil_qspmm_args *a) {
#if FIL_SMALL
  if (run_small(a)) return;
#endif
  for (uint32_t p = 0; p < a->positions; p += T)
    sum_tile(a, p, a->positions - p < T ? a->positions - p : T);
}

#define FIL_TABLE qspmm
#define FIL_OWN_DSP
#define FIL_OWN_NEON_DOTPROD
#include "kernels/table.h"
