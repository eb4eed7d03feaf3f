#include "kernels/dwconv/layout.h"
#include "simd/finish.h"
#include "simd/f16.h"

/* A band of one plane. */
typedef struct band {
  const fil_conv *g;
  fil_dw_layout l;
  const float *x;       /* the plane */
  const float *x_limit; /* the end of its padded extent */
  float *rows;          /* scratch */
  const float *w;
  float bias;
  float *out; /* the plane, at output row `first` */
  float *out_limit;
  uint32_t first, ring; /* input row y lies at row y % ring */
  v_bounds bounds;
} band;

static void zero(float *to, uint64_t n) { /* may write VL - 1 more */
  for (uint64_t j = 0; j < n; j += VL) v_store(to + j, v_zero());
}

/* Up to VL floats, fewer where the plane ends. */
FIL_INLINE vf load_inside(const float *from, const float *limit) {
  return from + VL <= limit ? v_load(from) : v_load_n(from, (uint32_t)(limit - from));
}

/* Input columns [0, n) of a row that starts `pad` columns into the padded row. */
static void copy_row(const band *b, float *to, const float *from, uint64_t pad, uint64_t n) {
  zero(to, pad);
  for (uint64_t j = 0; j < n; j += VL) v_store(to + pad + j, load_inside(from + j, b->x_limit));
  zero(to + pad + n, b->l.columns - pad - n);
}

/* The same for stride 2: input column j is padded column pad + j, phase (pad + j) % 2. */
static void copy_row2(const band *b, float *to, const float *from, uint64_t pad, uint64_t n) {
  float *even = to + pad % 2 * b->l.phase, *odd = to + (pad + 1) % 2 * b->l.phase;
  uint64_t even_pad = pad / 2, odd_pad = (pad + 1) / 2, columns = (b->l.columns + 1) / 2, j = 0;
  zero(even, even_pad);
  zero(odd, odd_pad);
  even += even_pad, odd += odd_pad;
  for (; 2 * j < n && from + 2 * (j + VL) <= b->x_limit; j += VL) {
    vf e, o;
    v_load2(from + 2 * j, &e, &o);
    v_store(even + j, e);
    v_store(odd + j, o);
  }
  for (; 2 * j < n; j++) {
    even[j] = from[2 * j];
    if (2 * j + 1 < n) odd[j] = from[2 * j + 1];
  }
  uint64_t evens = (n + 1) / 2, odds = n / 2;
  if (even_pad + evens < columns) zero(even + evens, columns - even_pad - evens);
  if (odd_pad + odds < columns) zero(odd + odds, columns - odd_pad - odds);
}

/* Any stride: phase kx holds what tap kx reads. */
static void copy_taps(const band *b, float *to, const float *from) {
  const fil_conv *g = b->g;
  for (uint64_t kx = 0; kx < g->kw; kx++, to += b->l.phase)
    for (uint64_t ox = 0; ox < g->out_w; ox++) {
      uint64_t x = ox * g->sw + kx * g->dw - g->pad_left; /* wraps before the row */
      to[ox] = x < g->in_w ? from[x] : 0;
    }
}

/* Where input row y lies in the plane: its place in the ring. */
FIL_INLINE uint64_t place_of(const band *b, uint64_t y) { return y < b->ring ? y : y % b->ring; }

static void fill_row(const band *b, float *to, uint64_t y) {
  const fil_conv *g = b->g;
  if (y >= g->in_h) {
    zero(to, b->l.row);
    return;
  }
  const float *from = b->x + place_of(b, y) * g->in_w;
  uint64_t pad = g->pad_left < b->l.columns ? g->pad_left : b->l.columns;
  uint64_t n = b->l.columns - pad < g->in_w ? b->l.columns - pad : g->in_w;
  if (g->sw == 1) copy_row(b, to, from, pad, n);
  else if (g->sw == 2) copy_row2(b, to, from, pad, n);
  else copy_taps(b, to, from);
}

static void fill_band(const band *b, uint32_t oy, uint32_t outs) {
  uint64_t rows = fil_dw_rows(b->g, outs);
  uint64_t y = (uint64_t)oy * b->g->sh - b->g->pad_top; /* wraps above the input */
  for (uint64_t i = 0; i < rows; i++) fill_row(b, b->rows + i * b->l.row, y + i);
}

/* Where in a scratch row the vector of tap column kx for output column 0 starts. */
FIL_INLINE size_t tap_column(const band *b, uint32_t kx) {
  size_t column = (size_t)kx * b->g->dw;
  if (b->g->sw == 1) return column;
  return b->g->sw == 2 ? column % 2 * b->l.phase + column / 2 : kx * b->l.phase;
}

FIL_INLINE void store(const band *b, float *to, vf sum) {
  sum = v_clamp(sum, b->bounds);
  if (to + VL <= b->out_limit) v_store(to, sum);
  else v_store_n(to, sum, (uint32_t)(b->out_limit - to));
}

/* R output rows from oy, whose first input row is `rows`, K x K taps, vertical stride S, no
 * vertical dilation: every input vector is loaded once for all the rows that it feeds. Vectors go
 * from right to left, as the last of a row overhangs into the next. */
FIL_INLINE void square(const band *b, const float *rows, uint32_t oy, const uint32_t K,
                       const uint32_t S, const uint32_t R) {
  vf w[25];
  size_t column[5];
  FIL_UNROLL(k, K * K) w[k] = v_set1(b->w[k]);
  FIL_UNROLL(k, K) column[k] = tap_column(b, k);
  uint32_t out_w = b->g->out_w;
  for (uint32_t ox = (out_w - 1) / VL * VL;; ox -= VL) {
    vf sum[FIL_DW_ROWS];
    FIL_UNROLL(r, R) sum[r] = v_set1(b->bias);
    FIL_UNROLL(y, (R - 1) * S + K)
      FIL_UNROLL(k, K) {
        vf x = v_load(rows + (size_t)y * b->l.row + column[k] + ox);
        FIL_UNROLL(r, R) {
          size_t ky = y - r * S; /* wraps above the kernel */
          if (ky < K) sum[r] = v_fma(x, w[ky * K + k], sum[r]);
        }
      }
    float *out = b->out + (size_t)(oy - b->first) * out_w + ox;
    FIL_UNROLL(r, R) store(b, out + (size_t)r * out_w, sum[r]);
    if (!ox) return;
  }
}

/* The same for any kernel, R rows at a time. */
FIL_INLINE void any(const band *b, const float *rows, uint32_t oy, const uint32_t R) {
  const fil_conv *g = b->g;
  size_t next = g->sh * b->l.row;
  for (uint32_t ox = (g->out_w - 1) / VL * VL;; ox -= VL) {
    vf sum[FIL_DW_ROWS];
    FIL_UNROLL(r, R) sum[r] = v_set1(b->bias);
    const float *w = b->w;
    for (uint32_t ky = 0; ky < g->kh; ky++)
      for (uint32_t kx = 0; kx < g->kw; kx++) {
        const float *x = rows + (size_t)ky * g->dh * b->l.row + tap_column(b, kx) + ox;
        vf weight = v_set1(*w++);
        FIL_UNROLL(r, R) sum[r] = v_fma(v_load(x + (size_t)r * next), weight, sum[r]);
      }
    float *out = b->out + (size_t)(oy - b->first) * g->out_w + ox;
    FIL_UNROLL(r, R) store(b, out + (size_t)r * g->out_w, sum[r]);
    if (!ox) return;
  }
}

/* The kernels with constant taps, X(K, S). */
#define SQUARES X(3, 1) X(3, 2) X(5, 1) X(5, 2)
typedef void (*rows_fn)(const band *, const float *rows, uint32_t oy);

#define X(K, S) Y(K, S, 1) Y(K, S, 2) Y(K, S, 3) Y(K, S, 4)
#define Y(K, S, R)                                                                                 \
  static void square_##K##_##S##_##R(const band *b, const float *rows, uint32_t oy) {              \
    square(b, rows, oy, K, S, R);                                                                  \
  }
SQUARES
#undef Y

static void any_1(const band *b, const float *rows, uint32_t oy) { any(b, rows, oy, 1); }
static void any_2(const band *b, const float *rows, uint32_t oy) { any(b, rows, oy, 2); }
static void any_3(const band *b, const float *rows, uint32_t oy) { any(b, rows, oy, 3); }
static void any_4(const band *b, const float *rows, uint32_t oy) { any(b, rows, oy, 4); }

/* By kernel, stride and number of rows. */
static const rows_fn squares[6][3][FIL_DW_ROWS + 1] = {
#define Y(K, S, R) [K][S][R] = square_##K##_##S##_##R,
    SQUARES
#undef Y
#undef X
};
static const rows_fn anies[FIL_DW_ROWS + 1] = {0, any_1, any_2, any_3, any_4};

static const rows_fn *rows_of(const fil_conv *g) {
  if (g->kh != g->kw || g->kh > 5 || g->sh > 2 || g->dh != 1) return anies;
  return squares[g->kh][g->sh][1] ? squares[g->kh][g->sh] : anies;
}

static void run_band(const band *b, const rows_fn *rows, uint32_t oy, uint32_t outs) {
  fill_band(b, oy, outs);
  for (uint32_t done = 0, n; done < outs; done += n) {
    n = outs - done < FIL_DW_ROWS ? outs - done : FIL_DW_ROWS;
    rows[n](b, b->rows + (size_t)done * b->g->sh * b->l.row, oy + done);
  }
}

static void finish_late(const fil_dwconv_args *a, const band *b, uint32_t r, uint32_t oy,
                        uint32_t outs) {
  size_t at = (size_t)(oy - a->first) * a->g->out_w;
  fil_piece p = {.y = b->out + at, .rows = 1, .n = outs * a->g->out_w};
  if (a->e.residual) p.residual = a->e.residual + (size_t)r * a->e.residual_pitch + at;
  FIL_KERNEL(finish)(&p, &a->e);
}

static const float *taps_of(const fil_matrix *w, uint32_t r) {
  if (!w->halves) return w->values + (size_t)r * w->cols;
  widen(w->wide, w->halves + (size_t)r * w->cols, w->cols);
  return w->wide;
}

static size_t padded(size_t n) { return (n + VL - 1) / VL * VL; }

/* Point the band at plane r. */
static void enter_plane(const fil_dwconv_args *a, band *b, uint32_t r) {
  const fil_conv *g = a->g;
  b->x = a->x + (size_t)r * a->x_pitch;
  b->x_limit = b->x + padded((size_t)a->ring * g->in_w);
  b->out = a->out + (size_t)r * a->out_pitch;
  b->out_limit = b->out + padded((size_t)a->rows * g->out_w);
  b->w = taps_of(&a->w, r);
  b->bias = a->w.bias[r];
}

/* By way of scratch. */
static void run_copied(const fil_dwconv_args *a, band *b) {
  const rows_fn *rows = rows_of(a->g);
  for (uint32_t r = 0; r < a->w.rows; r++) {
    enter_plane(a, b, r);
    for (uint32_t done = 0, outs; done < a->rows; done += outs) {
      outs = a->rows - done < b->l.band ? a->rows - done : b->l.band;
      run_band(b, rows, a->first + done, outs);
      if (b->bounds.late) finish_late(a, b, r, a->first + done, outs);
    }
  }
}

#if FIL_MASKED
enum { DIRECT_TAPS = 5, DIRECT_ROWS = 8, MASKS = DIRECT_TAPS, STRIPS = 16 };

/* Whether the input rows of output rows [oy, oy + outs) all exist, and once round the ring. */
FIL_INLINE int is_whole(const band *b, uint32_t oy, uint32_t outs) {
  uint64_t top = (uint64_t)oy * b->g->sh, rows = fil_dw_rows(b->g, outs), pad = b->g->pad_top;
  return rows <= b->ring && top >= pad && top - pad + rows <= b->g->in_h;
}

#define D(name) v_##name
#define DF      vf
#define DL      VL
#include "kernels/dwconv/direct.h"
#undef D
#undef DF
#undef DL
#define D(name) h_##name
#define DF      hf
#define DL      FIL_HALF
#include "kernels/dwconv/direct.h"
#include "kernels/dwconv/flat.h"

/* Straight from the planes, if there is code for that. */
static int run_direct(const fil_dwconv_args *a, band *b) {
  const fil_conv *g = a->g;
  if (g->kh != g->kw || g->sh != g->sw || (g->dh | g->dw) != 1 || !v_plane_of(g)) return 0;
  if (is_flat(a)) run_flat(a, b);
  else if (g->out_w > FIL_HALF) v_run(a, b);
  else h_run(a, b);
  return 1;
}
#else
static int run_direct(const fil_dwconv_args *a, band *b) {
  (void)a, (void)b;
  return 0;
}
#endif

void FIL_KERNEL(dwconv)(const fil_dwconv_args *a) {
  const fil_conv *g = a->g;
  band b = {.g = g, .l = fil_dw_layout_of(g), .rows = a->scratch, .bounds = finish_bounds(&a->e)};
  b.first = a->first, b.ring = a->ring;
  if (!run_direct(a, &b)) run_copied(a, &b);
}
