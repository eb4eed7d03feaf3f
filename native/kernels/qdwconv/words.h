/* Depthwise convolution of int8 by 16-bit words. What includes this has declared sum_strip. */
#include "kernels/dwconv/layout.h"
#include "kernels/q8.h"
#include "simd/bytes.h"

enum { T = 16, MOST_TAPS = 64 };

/* A plane's rows lie in scratch as 16 bits, the input's zero around them, split by column as
 * layout.h says. Taps go in pairs: two rows of them are interleaved and one multiplication takes
 * both. An odd one goes with itself and a weight of 0. */
typedef struct plane {
  const fil_qdwconv_args *a;
  fil_dw_layout l;
  int16_t *rows;
  uint32_t taps, offset[MOST_TAPS], row; /* offset: of a tap from an output's place */
  union {
    int16_t each[MOST_TAPS]; /* a tap's weight */
    int32_t pairs[MOST_TAPS / 2];
  } w;
} plane;

static void fill_row(const plane *b, int16_t *to, uint32_t y) {
  const fil_conv *g = b->a->g;
  const int8_t *x = b->a->x + (size_t)b->row * b->a->x_pitch;
  int16_t zero = (int16_t)b->a->x_zero;
  for (uint64_t i = 0; i < b->l.row; i++) to[i] = zero;
  if (y >= g->in_h) return;
  x += (size_t)(y % b->a->ring) * g->in_w;
  uint64_t n = b->l.columns < g->pad_left ? 0 : b->l.columns - g->pad_left;
  if (n > g->in_w) n = g->in_w;
  if (g->sw == 1)
    for (uint64_t i = 0; i < n; i++) to[g->pad_left + i] = x[i];
  else
    for (uint64_t i = 0; i < n; i++)
      to[(g->pad_left + i) % 2 * b->l.phase + (g->pad_left + i) / 2] = x[i];
}

/* The sums of the 16 outputs from x on, or, if `narrow`, of 8. */
FIL_INLINE void sum_strip(const plane *b, const int16_t *x, int32_t sums[T], const int narrow);

static void store(const plane *b, size_t at, uint32_t n, const int32_t sums[T]) {
  const fil_qdwconv_args *a = b->a;
  const int8_t *y = a->residual ? a->residual + (size_t)b->row * a->residual_pitch + at : 0;
  float factor = a->w.multipliers[b->row];
  int8_t made[T];
  if (y)
    for (uint32_t i = 0; i < n; i++) made[i] = fil_requantized(sums[i], factor, y + i, &a->q);
  else
    for (uint32_t i = 0; i < T; i++) made[i] = fil_requantized(sums[i], factor, 0, &a->q);
  fil_copy_bytes(a->out + (size_t)b->row * a->out_pitch + at, made, n);
}

static void enter_plane(plane *b, uint32_t r) {
  const int8_t *w = b->a->w.quads + (size_t)r * fil_quads(b->taps) * FIL_QUAD;
  b->row = r;
  for (uint32_t k = 0; k < b->taps; k++) b->w.each[k] = w[k];
}

static plane plane_of(const fil_qdwconv_args *a) {
  const fil_conv *g = a->g;
  plane b = {.a = a, .w = {{0}}, .l = fil_dw_layout_of(g), .rows = (int16_t *)(void *)a->scratch};
  b.taps = (uint32_t)g->kh * g->kw;
  for (uint32_t k = 0; k < b.taps; k++) {
    uint32_t x = k % g->kw * g->dw, y = k / g->kw * g->dh;
    b.offset[k] = y * (uint32_t)b.l.row + x % g->sw * (uint32_t)b.l.phase + x / g->sw;
  }
  if (b.taps % 2) b.offset[b.taps] = b.offset[b.taps - 1];
  return b;
}

static void run_words(const fil_qdwconv_args *a) {
  const fil_conv *g = a->g;
  plane b = plane_of(a);
  for (uint32_t r = 0; r < a->w.rows; r++) {
    enter_plane(&b, r);
    for (uint32_t done = 0, outs; done < a->rows; done += outs) {
      outs = a->rows - done < b.l.band ? a->rows - done : b.l.band;
      uint32_t top = (a->first + done) * g->sh - g->pad_top; /* wraps above the input */
      uint32_t rows = (uint32_t)fil_dw_rows(g, outs);
      for (uint32_t i = 0; i < rows; i++) fill_row(&b, b.rows + i * b.l.row, top + i);
      for (uint32_t i = 0; i < outs; i++)
        for (uint32_t p = 0; p < g->out_w; p += T) {
          int32_t sums[T];
          uint32_t n = g->out_w - p < T ? g->out_w - p : T;
          const int16_t *x = b.rows + i * g->sh * b.l.row + p;
          if (n > T / 2) sum_strip(&b, x, sums, 0);
          else sum_strip(&b, x, sums, 1);
          store(&b, (size_t)(done + i) * g->out_w + p, n, sums);
        }
    }
  }
}

void fil_qdwconv_scalar(const fil_qdwconv_args *a);

static void run(const fil_qdwconv_args *a) {
  if (a->g->sw <= 2 && (uint32_t)a->g->kh * a->g->kw < MOST_TAPS) run_words(a);
  else fil_qdwconv_scalar(a);
}
