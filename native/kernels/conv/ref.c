#include "kernels/ref.h"
#include "kernels/walk.h"

uint64_t fil_conv_scratch(const fil_conv *g, uint32_t cols) {
  (void)g;
  return (uint64_t)cols * FIL_TILE * sizeof(float);
}

/* Input under column (c, ky, kx) at output position (oy, ox); 0 in the padding. */
static float tap(const fil_conv_args *a, uint32_t column, uint32_t oy, uint32_t ox) {
  const fil_conv *g = a->g;
  uint32_t kx = column % g->kw, ky = column / g->kw % g->kh, c = column / g->kw / g->kh;
  uint32_t y = oy * g->sh + ky * g->dh - g->pad_top; /* wraps below 0 */
  uint32_t x = ox * g->sw + kx * g->dw - g->pad_left;
  if (y >= g->in_h || x >= g->in_w) return 0;
  return a->x[(size_t)c * g->cs + (size_t)(y % a->ring) * g->ys + (size_t)x * g->xs];
}

/* out[r][p] = act(residual[r][p] + bias[r] + sum over columns W[r][column] tap(column, p)) */
void fil_conv_scalar(const fil_conv_args *a) {
  const fil_matrix *w = &a->w;
  uint32_t O = w->block_rows;
  for (uint32_t p = 0; p < a->positions; p++) {
    uint32_t oy = (a->first + p) / a->g->out_w, ox = (a->first + p) % a->g->out_w;
    fil_walk k = fil_walk_start(w);
    for (uint32_t g = 0; g < w->groups; g++) {
      uint32_t rows = fil_group_rows(w, g), blocks = fil_walk_group(&k);
      float sum[16] = {0};
      for (uint32_t i = 0; i < blocks; i++) {
        float x = tap(a, fil_walk_next(&k), oy, ox);
        const float *v = k.values;
        for (uint32_t r = 0; r < O; r++) sum[r] += v[r] * x;
      }
      for (uint32_t r = 0; r < rows; r++) {
        size_t row = (size_t)g * O + r;
        a->out[row * a->out_pitch + p] =
            fil_finish(sum[r] + w->bias[row], &a->e, row * a->e.residual_pitch + p);
      }
    }
  }
}

#define FIL_TABLE conv
#include "kernels/table.h"
