#include "kernels/dwconv/layout.h"
#include "kernels/q8.h"
#if FIL_SMALL
#include "kernels/qdwconv/small.h"
#endif

uint64_t fil_qdwconv_scratch(const fil_conv *g) {
  fil_dw_layout l = fil_dw_layout_of(g);
  return l.rows * l.row * sizeof(int16_t);
}

/* out[r][oy][ox] = requantized(sums[r] + sum over taps w[r][ky][kx] x[r][y][x]), x_zero outside */
void fil_qdwconv_scalar(const fil_qdwconv_args *a) {
#if FIL_SMALL
  if (run_small(a)) return;
#endif
  const fil_conv *g = a->g;
  uint32_t K = g->kh * g->kw, P = a->rows * g->out_w, pitch = fil_quads(K) * FIL_QUAD;
  for (uint32_t r = 0; r < a->w.rows; r++) {
    fil_factor f = fil_factor_of(a->w.multipliers[r], &a->q);
    for (uint32_t p = 0; p < P; p++) {
      const int8_t *x = a->x + (size_t)r * a->x_pitch, *w = a->w.quads + (size_t)r * pitch;
      const int8_t *y = a->residual ? a->residual + (size_t)r * a->residual_pitch + p : 0;
      uint32_t oy = a->first + p / g->out_w, ox = p % g->out_w;
      int32_t sum = a->w.sums[r];
      for (uint32_t k = 0; k < K; k++) {
        uint32_t iy = oy * g->sh + k / g->kw * g->dh - g->pad_top; /* wraps below 0 */
        uint32_t ix = ox * g->sw + k % g->kw * g->dw - g->pad_left;
        int in = iy < g->in_h && ix < g->in_w;
        sum += w[k] * (in ? x[(size_t)(iy % a->ring) * g->in_w + ix] : a->x_zero);
      }
      fil_row_requantized(a->out + (size_t)r * a->out_pitch + p, &sum, 1, &f, y, &a->q);
    }
  }
}

#define FIL_TABLE qdwconv
#define FIL_OWN_DSP
#define FIL_OWN_NEON_DOTPROD
#include "kernels/table.h"
