#include "kernels/dwconv/layout.h"
#include "kernels/ref.h"

uint64_t fil_dwconv_scratch(const fil_conv *g) {
  fil_dw_layout l = fil_dw_layout_of(g);
  return l.rows * l.row * sizeof(float);
}

static float weight(const fil_matrix *w, size_t i) {
  return w->halves ? fil_f16(w->halves[i]) : w->values[i];
}

/* out[r][oy][ox] = act(residual + bias[r] + sum over taps w[r][ky][kx] x[r][y][x]), 0 outside x */
void fil_dwconv_scalar(const fil_dwconv_args *a) {
  const fil_conv *g = a->g;
  uint32_t K = g->kh * g->kw, P = a->rows * g->out_w;
  for (uint32_t r = 0; r < a->w.rows; r++)
    for (uint32_t p = 0; p < P; p++) {
      const float *x = a->x + (size_t)r * a->x_pitch;
      uint32_t oy = a->first + p / g->out_w, ox = p % g->out_w;
      float sum = a->w.bias[r];
      for (uint32_t k = 0; k < K; k++) {
        uint32_t iy = oy * g->sh + k / g->kw * g->dh - g->pad_top; /* wraps below 0 */
        uint32_t ix = ox * g->sw + k % g->kw * g->dw - g->pad_left;
        if (iy < g->in_h && ix < g->in_w)
          sum += weight(&a->w, (size_t)r * K + k) * x[(size_t)(iy % a->ring) * g->in_w + ix];
      }
      a->out[(size_t)r * a->out_pitch + p] =
          fil_finish(sum, &a->e, (size_t)r * a->e.residual_pitch + p);
    }
}

#define FIL_TABLE dwconv
#include "kernels/table.h"
