/* im2col of int8: a panel of FIL_TILE positions by columns, run by run of an output row. */
#ifndef FIL_QCONV_FILL_H
#define FIL_QCONV_FILL_H
#include "kernels/conv/span.h"
#include "kernels/q8.h"
#include "simd/bytes.h"
#if FIL_TARGET_HELIUM
#include "simd/q8_helium.h"
#endif

#if FIL_TARGET_DSP
#include "simd/dsp.h"
#define copy_halves dsp_copy_halves
#else
#define copy_halves fil_copy_halves
#endif

static inline void copy_run(int8_t *to, const int8_t *from, size_t step, uint32_t n) {
#if FIL_TARGET_HELIUM
  if (step < FIL_APART) copy_apart(to, from, (uint32_t)step, (int32_t)n);
#else
  if (step == 1) fil_copy_bytes(to, from, n);
  else if (step == 2) copy_halves(to, from, n);
#endif
  else
    for (uint32_t j = 0; j < n; j++) to[j] = from[j * step];
}

/* n outputs from (oy, ox) of one output row, at tap (ky, kx), for every channel. */
static inline void fill_run(const fil_qconv_args *a, int8_t *to, uint32_t ky, uint32_t kx,
                            uint32_t oy, uint32_t ox, uint32_t n) {
  const fil_conv *g = a->g;
  int32_t first = (int32_t)(ox * g->sw + kx * g->dw - g->pad_left); /* in 2^30: fil_axis_ok */
  uint32_t y = oy * g->sh + ky * g->dh - g->pad_top;                /* wraps above the input */
  span s = y < g->in_h ? inside(g, first, n) : (span){0, 0};
  size_t pitch = (size_t)g->kh * g->kw * FIL_TILE, step = (size_t)g->sw * g->xs;
  const int8_t *from = a->x;
  if (s.from < s.to)
    from += (size_t)(y % a->ring) * g->ys + (size_t)(first + (int64_t)s.from * g->sw) * g->xs;
  for (uint32_t c = 0; c < g->channels; c++, to += pitch, from += g->cs) {
    if (s.from) fil_set_bytes(to, (int8_t)a->x_zero, s.from);
    if (s.to < n) fil_set_bytes(to + s.to, (int8_t)a->x_zero, n - s.to);
    if (s.from < s.to) copy_run(to + s.from, from, step, s.to - s.from);
  }
}

/* n positions: panel row (c, ky, kx) is what that tap reads. */
static inline void fill_panel(const fil_qconv_args *a, uint32_t position, uint32_t n) {
  const fil_conv *g = a->g;
  for (uint32_t k = 0; k < (uint32_t)g->kh * g->kw; k++) {
    uint32_t oy = position / g->out_w, ox = position % g->out_w;
    for (uint32_t done = 0, run; done < n; done += run, oy++, ox = 0) {
      run = g->out_w - ox < n - done ? g->out_w - ox : n - done;
      fill_run(a, a->panel + (size_t)k * FIL_TILE + done, k / g->kw, k % g->kw, oy, ox, run);
    }
  }
}

/* All of it with the qspmm of an ISA. */
static inline void convolve(const fil_qconv_args *a, void (*multiply)(const fil_qspmm_args *)) {
  fil_qspmm_args t = {.w = a->w, .x = a->panel, .x_pitch = FIL_TILE, .out_pitch = a->out_pitch};
  t.residual_pitch = a->residual_pitch, t.q = a->q;
  for (uint32_t p = 0; p < a->positions; p += FIL_TILE) {
    t.positions = a->positions - p < FIL_TILE ? a->positions - p : FIL_TILE;
    t.out = a->out + p;
    t.residual = a->residual ? a->residual + p : 0;
    fill_panel(a, a->first + p, t.positions);
    multiply(&t);
  }
}
#endif
