/* Depthwise convolution of int8 on cores with few registers and no vectors. A band's rows lie in
 * scratch as bytes, 128 higher, the input's zero around them, split by column as layout.h says;
 * four outputs at a time are summed tap by tap. */
#include "kernels/conv/span.h"
#include "simd/small.h"

enum { MOST_TAPS = 64, SPAN = 16 };

/* tap: its weight in the low half, in the high one its place in the rows, from an output's. */
typedef struct plane {
  const fil_qdwconv_args *a;
  fil_dw_layout l;
  uint8_t *rows;
  uint32_t r, taps, tap[MOST_TAPS];
  int32_t start;
} plane;

static __attribute__((noinline)) void fill(uint8_t *to, const uint8_t *end, uint8_t value) {
  FIL_ONE_BY_ONE while (to < end) *to++ = value;
}

static __attribute__((noinline)) void copy(uint8_t *to, const uint8_t *end, const int8_t *from,
                                           size_t step) {
  FIL_ONE_BY_ONE for (; to < end; from += step) *to++ = (uint8_t)(*from ^ -128);
}

static __attribute__((noinline)) void fill_row(const plane *b, uint8_t *to, uint32_t y) {
  const fil_conv *g = b->a->g;
  const int8_t *x = b->a->x + (size_t)b->r * b->a->x_pitch;
  int32_t first = -(int32_t)g->pad_left;
  uint8_t zero = (uint8_t)(b->a->x_zero ^ 128);
  int in = y < g->in_h;
  if (y >= b->a->ring) y %= b->a->ring;
  for (uint32_t phase = 0; phase < g->sw; phase++, first++, to += b->l.phase) {
    uint32_t n = steps_to((uint32_t)b->l.columns - phase, g->sw);
    span s = in ? inside(g, first, n) : (span){0, 0};
    fill(to, to + s.from, zero), fill(to + s.to, to + n, zero);
    if (s.from == s.to) continue;
    copy(to + s.from, to + s.to, x + (size_t)y * g->in_w + (first + (int32_t)(s.from * g->sw)),
         g->sw);
  }
}

static void enter_plane(plane *b, uint32_t r) {
  const int8_t *w = b->a->w.quads + (size_t)r * fil_quads(b->taps) * FIL_QUAD;
  b->r = r, b->start = b->a->w.sums[r];
  for (uint32_t k = 0; k < b->taps; k++) {
    b->tap[k] = (b->tap[k] & 0xffff0000u) | (uint16_t)w[k];
    b->start -= 128 * w[k];
  }
}

static void place_taps(plane *b) {
  const fil_conv *g = b->a->g;
  for (uint32_t ky = 0; ky < g->kh; ky++)
    for (uint32_t kx = 0, x = 0; kx < g->kw; kx++, x += g->dw) {
      uint32_t at = ky * g->dh * (uint32_t)b->l.row;
      at += g->sw == 1 ? x : x % 2 * (uint32_t)b->l.phase + x / 2;
      b->tap[b->taps++] = at << 16;
    }
}

/* One row of outputs, which begins at x. */
static __attribute__((noinline)) void finish_row(const plane *b, const fil_factor *f,
                                                 const uint8_t *x, size_t at) {
  const fil_qdwconv_args *a = b->a;
  const int8_t *y = a->residual ? a->residual + (size_t)b->r * a->residual_pitch + at : 0;
  int8_t *out = a->out + (size_t)b->r * a->out_pitch + at;
  for (uint32_t p = 0, n; p < a->g->out_w; p += n) {
    int32_t sums[SPAN];
    n = a->g->out_w - p < SPAN ? a->g->out_w - p : SPAN;
    small_taps s = {x + p, b->tap, b->tap + b->taps, b->start, {0}};
    for (uint32_t i = 0; i < n; i += 4, s.x += 4) {
      sum_taps(&s);
      FIL_UNROLL(j, 4) sums[i + j] = s.sum[j];
    }
    fil_row_requantized(out + p, sums, n, f, y ? y + p : 0, &a->q);
  }
}

/* Places of taps fit 16 bits. */
static int fits(const fil_conv *g, const fil_dw_layout *l) {
  uint32_t tall = (uint32_t)(g->kh - 1) * g->dh + 1;
  return g->sw <= 2 && (uint32_t)g->kh * g->kw <= MOST_TAPS && l->row < 0x10000 / tall;
}

/* 0: not for this. */
static int run_small(const fil_qdwconv_args *a) {
  const fil_conv *g = a->g;
  plane b; /* not cleared: it is large */
  b.a = a, b.l = fil_dw_layout_of(g), b.rows = (uint8_t *)a->scratch, b.taps = 0;
  if (!fits(g, &b.l)) return 0;
  place_taps(&b);
  for (uint32_t r = 0; r < a->w.rows; r++) {
    fil_factor f = fil_factor_of(a->w.multipliers[r], &a->q);
    enter_plane(&b, r);
    size_t at = 0;
    for (uint32_t done = 0, outs; done < a->rows; done += outs) {
      outs = a->rows - done < b.l.band ? a->rows - done : b.l.band;
      uint32_t top = (a->first + done) * g->sh - g->pad_top; /* wraps above the input */
      uint32_t rows = (uint32_t)fil_dw_rows(g, outs), row = (uint32_t)b.l.row;
      for (uint32_t i = 0; i < rows; i++) fill_row(&b, b.rows + i * row, top + i);
      for (uint32_t i = 0; i < outs; i++, at += g->out_w)
        finish_row(&b, &f, b.rows + i * g->sh * row, at);
    }
  }
  return 1;
}
