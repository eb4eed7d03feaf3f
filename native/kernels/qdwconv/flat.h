/* Depthwise convolution of int8 on vectors of 16 bytes. A band of a plane lies in scratch with what
 * is outside of it around it, its rows one behind the other and in sh parts, by y % sh. Output
 * (y, x) has place y * wide + x, and what its taps read lies at sw times that. So 16 neighbouring
 * places are made at once: row by row, or where that would waste more, whatever rows they are of.
 *
 * Taps go in quads of neighbours. What includes this has simd/q8_<isa>.h and, from taps.h on,
 *   held, hold(plane, K)   a plane's weights and what else stays in registers
 *   sum_strip              the sums of 16 places from x on; K: the kernel is K x K, or ANY */
#include "kernels/qdwconv/taps.h"
#include "simd/q8_round.h"

static uint32_t less(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* The rows that start at row `top` of the input, which wraps above it. What is outside is there
 * already, if there is but one band. */
static void fill_band(const plane *b, uint32_t top, uint32_t rows) {
  const fil_conv *g = b->a->g;
  const int8_t *x = b->a->x + (size_t)b->row * b->a->x_pitch;
  int8_t *in = b->in + g->pad_left;
  uint32_t above = top < g->in_h ? 0 : less(0 - top, rows), sh = g->sh;
  uint32_t end = less(rows, g->in_h - top);
  if (b->band < b->a->rows)
    for (uint32_t i = 0; i < rows; i++)
      if (i < above || i >= end)
        fil_set_bytes(in + place_of_row(b, i), (int8_t)b->a->x_zero, b->inner);
  uint32_t step = b->a->ring < g->in_h ? end : sh; /* rows of a ring are copied one by one */
  for (uint32_t i = above; i < end && i < above + step; i++) {
    uint32_t y = (top + i) % b->a->ring, n = step == sh ? (end - i + sh - 1) / sh : 1;
    fil_copy_rows(in + place_of_row(b, i), per_row(b), x + (size_t)y * g->in_w, sh * g->in_w,
                  b->inner, n);
  }
}

/* Results [at, at + n) of a row with what its residual y adds: n bytes and no more. */
FIL_INLINE void store_some(int8_t *to, const int8_t *y, uint32_t n, const s4 sum[4],
                           float multiplier, const fil_rescale *q) {
  int8_t some[T] = {0};
  if (!y) {
    b16_store(some, b16_requantized(sum, multiplier, b16_load(some), q, 0));
  } else {
    fil_copy_bytes(some, y, n);
    b16_store(some, b16_requantized(sum, multiplier, b16_load(some), q, 1));
  }
  fil_copy_bytes(to, some, n);
}

/* `count` places of each of `rows`, `to_step` apart; if they are rows of outputs, with what their
 * residual y adds, and no more than those. */
FIL_INLINE void strips(const plane *b, int8_t *to, size_t to_step, const int8_t *y, uint32_t rows,
                       uint32_t count, const uint32_t K, const uint32_t sw) {
  const held h = hold(b, K);
  const fil_rescale q = b->a->q;
  const float multiplier = b->a->w.multipliers[b->row];
  const s4 start = s4_set1(b->a->w.sums[b->row]);
  const int8_t *x = b->in;
  const b16 none = {0};
  const uint32_t exact = b->made ? 0 : T - 1, step = per_row(b);
  for (; rows; rows--, to += to_step, x += step, y = y ? y + to_step : 0)
    for (uint32_t p = 0; p < count; p += T) {
      s4 sum[4] = {start, start, start, start};
      sum_strip(b, &h, x + p * sw, sum, K, sw);
      if (y || count - p <= exact)
        store_some(to + p, y ? y + p : 0, less(count - p, T), sum, multiplier, &q);
      else b16_store(to + p, b16_requantized(sum, multiplier, none, &q, 0));
    }
}

FIL_INLINE void make(const plane *b, uint32_t outs, size_t at, const uint32_t K,
                     const uint32_t sw) {
  const fil_qdwconv_args *a = b->a;
  uint32_t w = a->g->out_w;
  int8_t *out = a->out + (size_t)b->row * a->out_pitch + at;
  const int8_t *y = a->residual ? a->residual + (size_t)b->row * a->residual_pitch + at : 0;
  if (!b->made) {
    strips(b, out, w, y, outs, w, K, sw);
    return;
  }
  strips(b, b->made, 0, 0, 1, (outs - 1) * b->wide + w, K, sw);
  fil_copy_rows(out, w, b->made, b->wide, w, outs);
}

static void make_band(const plane *b, uint32_t outs, size_t at) {
  const fil_conv *g = b->a->g;
  if (b->square == 3 && g->sw == 1) make(b, outs, at, 3, 1);
  else if (b->square == 3) make(b, outs, at, 3, 2);
  else if (b->square == 5 && g->sw == 1) make(b, outs, at, 5, 1);
  else if (b->square == 5) make(b, outs, at, 5, 2);
  else if (g->sw == 1) make(b, outs, at, ANY, 1);
  else make(b, outs, at, ANY, 2);
}

static void make_plane(plane *b, uint32_t r) {
  const fil_qdwconv_args *a = b->a;
  enter_plane(b, r);
  for (uint32_t done = 0, outs; done < a->rows; done += outs) {
    outs = a->rows - done < b->band ? a->rows - done : b->band;
    uint32_t top = (a->first + done) * a->g->sh - a->g->pad_top; /* wraps above the input */
    uint32_t rows = (uint32_t)fil_dw_rows(a->g, outs);
    fill_band(b, top, rows);
    make_band(b, outs, (size_t)done * a->g->out_w);
  }
}

void fil_qdwconv_scalar(const fil_qdwconv_args *a);

static void run(const fil_qdwconv_args *a) {
  plane b;
  if (!plane_of(&b, a)) {
    fil_qdwconv_scalar(a);
    return;
  }
  for (uint32_t r = 0; r < a->w.rows; r++) make_plane(&b, r);
}
