#include "kernels/conv/span.h"
#include "simd/finish.h"

void FIL_KERNEL(spmm)(const fil_spmm_args *a);

static void zero(fx *to, uint32_t n) {
  uint32_t j = 0;
  for (; j + VL <= n; j += VL) v_store(to + j, v_zero());
  if (j < n) v_store_n(to + j, v_zero(), n - j);
}

static void copy(fx *to, const fx *from, uint32_t n) {
  if (n < VL) {
    v_store_n(to, v_load_n(from, n), n);
    return;
  }
  for (uint32_t j = 0; j + VL < n; j += VL) v_store(to + j, v_load(from + j));
  v_store(to + n - VL, v_load(from + n - VL));
}

/* Every second float. The last vector takes the odd ones from one place before, so that nothing
 * past from[2 * (n - 1)] is read. */
static void copy2(fx *to, const fx *from, uint32_t n) {
  if (n <= VL) {
    for (uint32_t j = 0; j < n; j++) to[j] = from[2 * j];
    return;
  }
  vf even, odd;
  for (uint32_t j = 0; j + VL < n; j += VL) {
    v_load2(from + 2 * j, &even, &odd);
    v_store(to + j, even);
  }
  v_load2(from + 2 * (n - VL) - 1, &even, &odd);
  v_store(to + n - VL, odd);
}

/* n outputs from (oy, ox) of one output row, at tap (ky, kx), for every channel. */
static void fill_run(const fil_conv_args *a, fx *to, uint32_t ky, uint32_t kx, uint32_t oy,
                     uint32_t ox, uint32_t n) {
  const fil_conv *g = a->g;
  int32_t first = (int32_t)(ox * g->sw + kx * g->dw - g->pad_left); /* in 2^30: fil_axis_ok */
  uint32_t y = oy * g->sh + ky * g->dh - g->pad_top;                /* wraps above the input */
  span s = y < g->in_h ? inside(g, first, n) : (span){0, 0};
  size_t pitch = (size_t)g->kh * g->kw * FIL_TILE, step = (size_t)g->sw * g->xs;
  const fx *from = a->x;
  if (s.from < s.to)
    from += (size_t)(y % a->ring) * g->ys + (size_t)(first + (int64_t)s.from * g->sw) * g->xs;
  for (uint32_t c = 0; c < g->channels; c++, to += pitch, from += g->cs) {
    if (s.from) zero(to, s.from);
    if (s.to < n) zero(to + s.to, n - s.to);
    if (s.from == s.to) continue;
    if (step == 1) copy(to + s.from, from, s.to - s.from);
    else if (step == 2) copy2(to + s.from, from, s.to - s.from);
    else
      for (uint32_t j = s.from; j < s.to; j++) to[j] = from[(j - s.from) * step];
  }
}

/* im2col of n positions: panel row (c, ky, kx) is what that tap reads. Channels are innermost, as
 * all of them share the geometry. */
static void fill_panel(const fil_conv_args *a, uint32_t position, uint32_t n) {
  const fil_conv *g = a->g;
  for (uint32_t k = 0; k < (uint32_t)g->kh * g->kw; k++) {
    uint32_t oy = position / g->out_w, ox = position % g->out_w;
    for (uint32_t done = 0, run; done < n; done += run, oy++, ox = 0) {
      run = g->out_w - ox < n - done ? g->out_w - ox : n - done;
      fill_run(a, a->panel + (size_t)k * FIL_TILE + done, k / g->kw, k % g->kw, oy, ox, run);
    }
  }
}

void FIL_KERNEL(conv)(const fil_conv_args *a) {
  fil_spmm_args t = {.w = a->w, .x = a->panel, .x_pitch = FIL_TILE, .out_pitch = a->out_pitch};
  t.e = a->e;
  for (uint32_t p = 0; p < a->positions; p += FIL_TILE) {
    t.positions = a->positions - p < FIL_TILE ? a->positions - p : FIL_TILE;
    t.out = a->out + p;
    if (a->e.residual) t.e.residual = a->e.residual + p;
    fill_panel(a, a->first + p, t.positions);
    FIL_KERNEL(spmm)(&t);
  }
}
