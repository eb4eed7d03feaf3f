/* qspmv on Helium: the inputs of a group's columns are gathered side by side, and sixteen at a time
 * multiplied by those weights of each row. */
#include "kernels/qspmm/columns.h"
#include "simd/q8_helium.h"

enum { CHUNK = 256, COLUMNS = 16, ROWS = 4 };

static void gather(columns *c, int8_t *to, uint32_t n, const fil_coding coding) {
  for (uint32_t i = 0; i < n; i++) to[i] = *next_column(c, coding);
}

/* n columns, gathered in x, of R rows whose quads lie `step` bytes apart. */
FIL_INLINE void multiply(int32_t *sums, const int8_t *w, uint32_t step, const int8_t *x, int32_t n,
                         const uint32_t R) {
  const uint32x4_t at = vmulq_n_u32(vidupq_n_u32(0, 1), step);
  int32_t sum[ROWS];
  FIL_UNROLL(r, R) sum[r] = sums[r];
  for (; n > 0; n -= COLUMNS, x += COLUMNS, w += 4 * (size_t)step) {
    int8x16_t v = vldrbq_s8(x);
    mve_pred16_t some = vctp32q(fil_quads((uint32_t)n));
    FIL_UNROLL(r, R) {
      const int32_t *words = (const int32_t *)(const void *)(w + r * FIL_QUAD);
      int32x4_t weights = vldrwq_gather_offset_z_s32(words, at, some);
      sum[r] = vmladavaq_s8(sum[r], vreinterpretq_s8_s32(weights), v);
    }
  }
  FIL_UNROLL(r, R) sums[r] = sum[r];
}

static void multiply_rows(const fil_matrix *w, int32_t sums[16], const int8_t *quads,
                          const int8_t *x, int32_t n) {
  const uint32_t O = w->block_rows, step = O * FIL_QUAD;
  if (O == 1) multiply(sums, quads, step, x, n, 1);
  else if (O == 2) multiply(sums, quads, step, x, n, 2);
  else
    for (uint32_t r = 0; r < O; r += ROWS)
      multiply(sums + r, quads + r * FIL_QUAD, step, x, n, ROWS);
}

static void sum_group(const fil_qspmv_args *a, group *g) {
  const fil_coding coding = (fil_coding)a->w.coding;
  columns c = {g->index, a->x, coding == FIL_CODING_NONE ? a->x - 1 : a->x, 1};
  int8_t x[CHUNK];
  for (uint32_t i = 0, n; i < g->blocks; i += n) {
    n = g->blocks - i < CHUNK ? g->blocks - i : CHUNK;
    gather(&c, x, n, coding);
    for (uint32_t k = n; k % FIL_QUAD; k++) x[k] = 0;
    multiply_rows(&a->w, g->start, g->quads + (size_t)i * a->w.block_rows, x, (int32_t)n);
  }
}

void fil_qspmv_helium(const fil_qspmv_args *a) {
  const fil_matrix *w = &a->w;
  group g = first_group(w);
  for (uint32_t i = 0; i < w->groups; i++) {
    enter_group(w, &g, i);
    sum_group(a, &g);
    for (uint32_t r = 0; r < w->block_rows && g.row + r < w->rows; r++) {
      size_t row = g.row + r;
      const int8_t *y = a->residual ? a->residual + row : 0;
      a->out[row] = fil_requantized(g.start[r], w->multipliers[row], y, &a->q);
    }
    leave_group(w, &g);
  }
}
