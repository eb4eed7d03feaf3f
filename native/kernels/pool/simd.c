#include "simd/finish.h"

/* A row of outputs of one plane: kernel rows [ky, ky_end) lie inside the input, and so does every
 * kernel column of outputs [ox, ox_end). */
typedef struct pool_row {
  const fil_pool *g;
  const fx *x, *x_limit;          /* the plane and the end of its padded extent */
  uint32_t ky, ky_end, ky_padded; /* ky_padded: kernel rows in the input or its declared padding */
  uint32_t ox, ox_end;
  uint32_t oy;
} pool_row;

static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Steps of `step` from `from` that stay below `end`. */
static uint32_t steps(uint32_t from, uint32_t end, uint32_t step) {
  return from < end ? (end - from + step - 1) / step : 0;
}

static pool_row row_of(const fil_pool *g, uint32_t oy) {
  uint32_t top = oy * g->sh, reach = (uint32_t)(g->kw - 1) * g->dw;
  pool_row r = {.g = g, .oy = oy};
  r.ky = smaller(steps(top, g->pad_top, g->dh), g->kh);
  r.ky_end = smaller(steps(top, g->pad_top + g->in_h, g->dh), g->kh);
  r.ky_padded = smaller(steps(top, g->pad_top + g->in_h + g->pad_bottom, g->dh), g->kh);
  r.ox_end = smaller(steps(reach, g->pad_left + g->in_w, g->sw), g->out_w);
  r.ox = smaller(steps(0, g->pad_left, g->sw), r.ox_end);
  return r;
}

/* The first tap's place in the plane, for kernel row ky and output column ox. */
FIL_INLINE const fx *tap(const pool_row *r, uint32_t ky, uint32_t ox) {
  const fil_pool *g = r->g;
  size_t y = (size_t)r->oy * g->sh + (size_t)ky * g->dh - g->pad_top;
  return r->x + y * g->in_w + (size_t)ox * g->sw - g->pad_left;
}

/* One output whose columns may reach outside. */
static float window(const pool_row *r, uint32_t ox) {
  const fil_pool *g = r->g;
  uint32_t left = ox * g->sw, inside = 0, padded_w = g->pad_left + g->in_w + g->pad_right;
  uint32_t from = smaller(steps(left, g->pad_left, g->dw), g->kw);
  uint32_t to = smaller(steps(left, g->pad_left + g->in_w, g->dw), g->kw);
  float sum = 0, max = 0;
  for (uint32_t ky = r->ky; ky < r->ky_end; ky++)
    for (uint32_t kx = from; kx < to; kx++) {
      float v = *(tap(r, ky, ox) + (size_t)kx * g->dw);
      max = inside++ && !(max < v) ? max : v;
      sum += v;
    }
  if (!inside || g->mode == FIL_POOL_MAX) return max;
  uint32_t padded = r->ky_padded * smaller(steps(left, padded_w, g->dw), g->kw);
  return sum / (float)(g->mode == FIL_POOL_AVG ? inside : padded);
}

FIL_INLINE vf load_taps(const fx *x, const int stride) {
  if (stride == 1) return v_load(x);
  vf even, odd;
  v_load2(x, &even, &odd);
  return even;
}

/* Outputs [ox, ox + VL), all of whose columns are inside. */
FIL_INLINE vf highest(const pool_row *r, uint32_t ox, const int stride) {
  const fil_pool *g = r->g;
  vf most = load_taps(tap(r, r->ky, ox), stride);
  for (uint32_t ky = r->ky; ky < r->ky_end; ky++) {
    const fx *x = tap(r, ky, ox);
    for (uint32_t kx = 0; kx < g->kw; kx++, x += g->dw) most = v_max(most, load_taps(x, stride));
  }
  return most;
}

FIL_INLINE vs total(const pool_row *r, uint32_t ox, const int stride) {
  const fil_pool *g = r->g;
  vs sum = s_zero();
  for (uint32_t ky = r->ky; ky < r->ky_end; ky++) {
    const fx *x = tap(r, ky, ox);
    for (uint32_t kx = 0; kx < g->kw; kx++, x += g->dw) sum = s_add(sum, load_taps(x, stride));
  }
  return sum;
}

static vf windows_of(const pool_row *r, uint32_t ox) {
  if (r->g->mode == FIL_POOL_MAX) return r->g->sw == 1 ? highest(r, ox, 1) : highest(r, ox, 2);
  vs sum = r->g->sw == 1 ? total(r, ox, 1) : total(r, ox, 2);
  uint32_t rows = r->g->mode == FIL_POOL_AVG ? r->ky_end - r->ky : r->ky_padded;
  return s_div(sum, (float)(rows * r->g->kw));
}

/* All vectors of outputs at ox load inside the plane's padded extent. */
FIL_INLINE int in_vectors(const pool_row *r, uint32_t ox) {
  const fil_pool *g = r->g;
  if (g->sw > 2 || r->ky >= r->ky_end || ox < r->ox || ox >= r->ox_end) return 0;
  const fx *last = tap(r, r->ky_end - 1, ox) + (size_t)(g->kw - 1) * g->dw;
  return last + (size_t)g->sw * VL <= r->x_limit;
}

static void run_row(const pool_row *r, fx *out) {
  for (uint32_t ox = 0, n; ox < r->g->out_w; ox += n) {
    n = 1;
    if (!in_vectors(r, ox)) {
      out[ox] = window(r, ox);
      continue;
    }
    n = smaller(VL, r->ox_end - ox);
    v_store_n(out + ox, windows_of(r, ox), n);
  }
}

void FIL_KERNEL(pool)(const fil_pool_args *a) {
  const fil_pool *g = a->g;
  size_t in = (size_t)g->in_h * g->in_w, out = (size_t)g->out_h * g->out_w;
  for (uint32_t oy = 0; oy < g->out_h; oy++) {
    pool_row r = row_of(g, oy);
    for (uint32_t c = 0; c < g->channels; c++) {
      r.x = a->x + (size_t)c * a->x_pitch;
      r.x_limit = r.x + (in + VL - 1) / VL * VL;
      run_row(&r, a->out + (size_t)c * a->out_pitch + (size_t)oy * g->out_w);
    }
  }
  fil_piece p = {.y = a->out, .rows = g->channels, .n = (uint32_t)out, .pitch = a->out_pitch};
  if (a->e.act != FIL_ACT_NONE) FIL_KERNEL(finish)(&p, &a->e);
}
