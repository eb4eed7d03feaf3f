#include "kernels/ref.h"

/* One window of a plane. AVG divides by the taps inside the input, AVG_PAD by those inside the
 * input and its declared padding, MAX and AVG of no tap at all are 0. */
static float window(const fil_pool *g, const float *x, uint32_t oy, uint32_t ox) {
  uint32_t padded_h = g->pad_top + g->in_h + g->pad_bottom;
  uint32_t padded_w = g->pad_left + g->in_w + g->pad_right;
  uint32_t inside = 0, padded = 0;
  float sum = 0, max = 0;
  for (uint32_t ky = 0; ky < g->kh; ky++)
    for (uint32_t kx = 0; kx < g->kw; kx++) {
      uint32_t py = oy * g->sh + ky * g->dh, px = ox * g->sw + kx * g->dw;
      padded += py < padded_h && px < padded_w;
      uint32_t iy = py - g->pad_top, ix = px - g->pad_left; /* wrap below 0 */
      if (iy >= g->in_h || ix >= g->in_w) continue;
      float v = x[(size_t)iy * g->in_w + ix];
      max = inside++ ? fil_maxf(max, v) : v;
      sum += v;
    }
  if (!inside || g->mode == FIL_POOL_MAX) return max;
  return sum / (float)(g->mode == FIL_POOL_AVG ? inside : padded);
}

void fil_pool_scalar(const fil_pool_args *a) {
  const fil_pool *g = a->g;
  for (uint32_t c = 0; c < g->channels; c++)
    for (uint32_t oy = 0; oy < g->out_h; oy++)
      for (uint32_t ox = 0; ox < g->out_w; ox++) {
        float v = window(g, a->x + (size_t)c * a->x_pitch, oy, ox);
        a->out[(size_t)c * a->out_pitch + (size_t)oy * g->out_w + ox] = fil_finish(v, &a->e, 0);
      }
}

#define FIL_TABLE pool
#include "kernels/table.h"
