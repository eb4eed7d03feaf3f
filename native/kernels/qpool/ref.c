#include "kernels/q8.h"

typedef struct found {
  int32_t most, sum;
  uint32_t taps, padding; /* padding: cells that count beside them, of AVG_PAD */
} found;

static found look(const fil_qpool_args *a, const int8_t *x, uint32_t oy, uint32_t ox) {
  const fil_pool *g = a->g;
  found f = {.most = INT32_MIN};
  for (uint32_t k = 0; k < (uint32_t)g->kh * g->kw; k++) {
    uint32_t y = oy * g->sh + k / g->kw * g->dh, col = ox * g->sw + k % g->kw * g->dw;
    if (y - g->pad_top < g->in_h && col - g->pad_left < g->in_w) {
      int32_t v = x[(size_t)(y - g->pad_top) * g->in_w + (col - g->pad_left)];
      f.most = v > f.most ? v : f.most;
      f.sum += v - a->x_zero;
      f.taps++;
    } else if (y < g->in_h + g->pad_top + g->pad_bottom &&
               col < g->in_w + g->pad_left + g->pad_right) {
      f.padding++;
    }
  }
  return f;
}

/* out[c][oy][ox] = the greatest, or the mean, of the window; without a tap, what stands for 0 */
void fil_qpool_scalar(const fil_qpool_args *a) {
  const fil_pool *g = a->g;
  for (uint32_t c = 0; c < g->channels; c++)
    for (uint32_t p = 0; p < g->out_h * g->out_w; p++) {
      found f = look(a, a->x + (size_t)c * a->x_pitch, p / g->out_w, p % g->out_w);
      uint32_t count = f.taps + (g->mode == FIL_POOL_AVG_PAD ? f.padding : 0);
      int8_t *out = &a->out[(size_t)c * a->out_pitch + p];
      if (!f.taps) *out = fil_kept(a->q.zero, &a->q);
      else if (g->mode == FIL_POOL_MAX) *out = fil_kept(f.most, &a->q);
      else *out = fil_rescaled((float)f.sum * (a->multiplier / (float)count), &a->q);
    }
}

#define FIL_TABLE qpool
#define FIL_SCALAR_ALONE
#include "kernels/table.h"
