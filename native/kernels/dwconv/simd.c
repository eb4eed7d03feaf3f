#include "kernels/dwconv/layout.h"
#include "simd/finish.h"
#if !FIL_LANES_F16
#include "simd/f16.h"
#endif

/* A band of one plane. */
typedef struct band {
  const fil_conv *g;
  fil_dw_layout l;
  const fx *x; /* the plane */
  fx *rows;    /* scratch */
  const fw *w;
  float bias;
  fx *out; /* the plane, at output row `first` */
  fx *out_limit;
  uint32_t first, ring; /* input row y lies at row y % ring */
  v_bounds bounds;
} band;

static void zero(fx *to, uint64_t n) { /* whole rows of scratch: whole vectors */
  for (uint64_t j = 0; j < n; j += VL) v_store(to + j, v_zero());
}

/* n elements and no more: the last vector overlaps the one before, or ends in zeros, as what
 * follows in scratch is. */
static void copy(fx *to, const fx *from, uint64_t n) {
  uint64_t j = 0;
  if (n < VL) {
    v_store(to, v_load_n(from, (uint32_t)n));
    return;
  }
  for (; j + 4 * VL <= n; j += 4 * VL) {
    vf v[4];
    FIL_UNROLL(u, 4) v[u] = v_load(from + j + u * VL);
    FIL_UNROLL(u, 4) v_store(to + j + u * VL, v[u]);
  }
  for (; j + VL <= n; j += VL) v_store(to + j, v_load(from + j));
  v_store(to + n - VL, v_load(from + n - VL));
}

FIL_INLINE void split_vector(fx *even, fx *odd, const fx *from) {
  vf e, o;
  v_load2(from, &e, &o);
  v_store(even, e);
  v_store(odd, o);
}

#if FIL_LANES_F16
/* n < 2 * VL of them. What follows in scratch is zero, and stays so. */
static void split_short(fx *even, fx *odd, const fx *from, uint32_t n) {
  vf high = n > VL ? v_load_n(from + VL, n - VL) : v_zero(), e, o;
  v_split(v_load_n(from, n), high, &e, &o);
  v_store(even, e);
  v_store(odd, o);
}
#endif

/* The same for n floats that go to two places in turn. */
static void split(fx *even, fx *odd, const fx *from, uint64_t n) {
#if FIL_LANES_F16
  if (n < 2 * VL) {
    split_short(even, odd, from, (uint32_t)n);
    return;
  }
#endif
  uint64_t pairs = n / 2, j = 0;
  for (; j + VL < pairs; j += VL) split_vector(even + j, odd + j, from + 2 * j);
  if (pairs >= VL) split_vector(even + pairs - VL, odd + pairs - VL, from + 2 * (pairs - VL));
  else
    for (; j < pairs; j++) even[j] = from[2 * j], odd[j] = from[2 * j + 1];
  if (n % 2) even[pairs] = from[n - 1];
}

/* Any stride: phase kx holds what tap kx reads. */
static void copy_taps(const fil_conv *g, fx *to, const fx *from, uint64_t phase) {
  for (uint64_t kx = 0; kx < g->kw; kx++, to += phase)
    for (uint64_t ox = 0; ox < g->out_w; ox++) {
      uint64_t x = ox * g->sw + kx * g->dw - g->pad_left; /* wraps before the row */
      to[ox] = x < g->in_w ? from[x] : 0;
    }
}

/* Where input row y lies in the plane: its place in the ring. */
FIL_INLINE uint64_t place_of(const band *b, uint64_t y) { return y < b->ring ? y : y % b->ring; }

/* `rows` rows that follow each other in the plane, between the zeros that scratch starts with. */
static void copy_rows(const band *b, fx *to, const fx *from, uint64_t rows) {
  const fil_conv *g = b->g;
  uint64_t row = b->l.row, phase = b->l.phase, in_w = g->in_w, stride = g->sw;
  uint64_t pad = g->pad_left < b->l.columns ? g->pad_left : b->l.columns;
  uint64_t n = b->l.columns - pad < in_w ? b->l.columns - pad : in_w;
  uint64_t even = pad % 2 * phase + pad / 2, odd = (pad + 1) % 2 * phase + (pad + 1) / 2;
  for (; rows; rows--, to += row, from += in_w) {
    if (stride == 1) copy(to + pad, from, n);
    else if (stride == 2) split(to + even, to + odd, from, n);
    else copy_taps(g, to, from, phase);
  }
}

/* Input rows [y, y + rows), which exist. */
static void copy_ring(const band *b, fx *to, uint64_t y, uint64_t rows) {
  for (uint64_t at = place_of(b, y), n; rows; rows -= n, at = 0, to += n * b->l.row) {
    n = b->ring - at < rows ? b->ring - at : rows;
    copy_rows(b, to, b->x + at * b->g->in_w, n);
  }
}

static void fill_band(const band *b, uint32_t oy, uint32_t outs) {
  const fil_conv *g = b->g;
  int64_t rows = (int64_t)fil_dw_rows(g, outs), top = (int64_t)oy * g->sh - g->pad_top;
  int64_t from = top < 0 ? -top : 0, to = (int64_t)g->in_h - top;
  if (to > rows) to = rows;
  if (to < from) from = to = rows; /* all of it in the padding */
  zero(b->rows, (uint64_t)from * b->l.row);
  copy_ring(b, b->rows + (uint64_t)from * b->l.row, (uint64_t)(top + from), (uint64_t)(to - from));
  zero(b->rows + (uint64_t)to * b->l.row, (uint64_t)(rows - to) * b->l.row);
}

/* Where R output rows go: copied out of the band, which a store might change for all that the
 * compiler knows. */
typedef struct sink {
  fx *out;
  const fx *limit; /* the plane's end */
  const fx *whole; /* before it, a vector of each of the rows fits into the plane */
  size_t next;
  v_bounds bounds;
  vf bias;
} sink;

FIL_INLINE sink sink_of(const band *b, uint32_t oy, const uint32_t R) {
  sink s = {.next = b->g->out_w, .bounds = b->bounds, .bias = v_set1(b->bias)};
  s.out = b->out + (oy - b->first) * s.next;
  s.limit = b->out_limit;
  size_t room = (size_t)(s.limit - s.out), all = (R - 1) * s.next + VL;
  s.whole = s.out + (room < all ? 0 : room - all + 1);
  return s;
}

/* Out of the loop: its addresses would take the registers of those that count. */
__attribute__((noinline)) static void store_ends(fx *out, const fx *limit, size_t next,
                                                 const vf *sum, uint32_t rows) {
  size_t room = (size_t)(limit - out);
  for (uint32_t r = 0; r < rows && room > r * next; r++) {
    size_t n = room - r * next;
    v_store_n(out + r * next, sum[r], n < VL ? (uint32_t)n : VL);
  }
}

FIL_INLINE void store(const sink *s, size_t ox, const vf *sum, const uint32_t R) {
  fx *out = s->out + ox;
  vf y[FIL_DW_ROWS];
  FIL_UNROLL(r, R) y[r] = v_clamp(sum[r], s->bounds);
  if (out < s->whole) {
    FIL_UNROLL(r, R) v_store(out + r * s->next, y[r]);
    return;
  }
  vf held[FIL_DW_ROWS]; /* in memory, so that y need not be */
  FIL_UNROLL(r, R) held[r] = y[r];
  store_ends(out, s->limit, s->next, held, R);
}

/* R output rows from oy, whose first input row is `rows`, K x K taps, stride S, no dilation: every
 * input vector is loaded once for all the rows that it feeds. Vectors go from right to left, as
 * the last of a row overhangs into the next. */
FIL_INLINE void square(const band *b, const fx *rows, uint32_t oy, const uint32_t K,
                       const uint32_t S, const uint32_t R) {
  vf w[25];
  FIL_UNROLL(k, K * K) w[k] = v_set1(b->w[k]);
  sink to = sink_of(b, oy, R);
  size_t next = b->l.row, phase = b->l.phase;
  for (size_t ox = (to.next - 1) / VL * VL;; ox -= VL) {
    const fx *row = rows + ox;
    vf sum[FIL_DW_ROWS];
    FIL_UNROLL(r, R) sum[r] = to.bias;
    FIL_UNROLL(y, (R - 1) * S + K) {
      FIL_UNROLL(k, K) {
        vf x = v_load(S == 1 ? row + k : row + k % 2 * phase + k / 2);
        FIL_UNROLL(r, R) {
          size_t ky = y - r * S; /* wraps above the kernel */
          if (ky < K) sum[r] = v_fma(x, w[ky * K + k], sum[r]);
        }
      }
      row += next;
    }
    store(&to, ox, sum, R);
    if (!ox) return;
  }
}

/* Where in a scratch row the vector of tap column kx for output column 0 starts. */
FIL_INLINE size_t tap_column(const band *b, uint32_t kx) {
  size_t column = (size_t)kx * b->g->dw;
  if (b->g->sw == 1) return column;
  return b->g->sw == 2 ? column % 2 * b->l.phase + column / 2 : kx * b->l.phase;
}

/* The same for any kernel, R rows at a time. */
FIL_INLINE void any(const band *b, const fx *rows, uint32_t oy, const uint32_t R) {
  const fil_conv *g = b->g;
  sink to = sink_of(b, oy, R);
  size_t next = g->sh * b->l.row;
  for (size_t ox = (to.next - 1) / VL * VL;; ox -= VL) {
    vf sum[FIL_DW_ROWS];
    FIL_UNROLL(r, R) sum[r] = to.bias;
    const fw *w = b->w;
    for (uint32_t ky = 0; ky < g->kh; ky++)
      for (uint32_t kx = 0; kx < g->kw; kx++) {
        const fx *x = rows + (size_t)ky * g->dh * b->l.row + tap_column(b, kx) + ox;
        vf weight = v_set1(*w++);
        FIL_UNROLL(r, R) sum[r] = v_fma(v_load(x + (size_t)r * next), weight, sum[r]);
      }
    store(&to, ox, sum, R);
    if (!ox) return;
  }
}

/* The kernels with constant taps, X(K, S); FIL_EDGES has other code for 3 x 3 taps. */
#if FIL_EDGES
#define SQUARES X(5, 1) X(5, 2)
#else
#define SQUARES X(3, 1) X(3, 2) X(5, 1) X(5, 2)
#endif
typedef void (*rows_fn)(const band *, const fx *rows, uint32_t oy);

#define X(K, S) Y(K, S, 1) Y(K, S, 2) Y(K, S, 3) Y(K, S, 4)
#define Y(K, S, R)                                                                                 \
  static void square_##K##_##S##_##R(const band *b, const fx *rows, uint32_t oy) {                 \
    square(b, rows, oy, K, S, R);                                                                  \
  }
SQUARES
#undef Y

static void any_1(const band *b, const fx *rows, uint32_t oy) { any(b, rows, oy, 1); }
static void any_2(const band *b, const fx *rows, uint32_t oy) { any(b, rows, oy, 2); }
static void any_3(const band *b, const fx *rows, uint32_t oy) { any(b, rows, oy, 3); }
static void any_4(const band *b, const fx *rows, uint32_t oy) { any(b, rows, oy, 4); }

/* By kernel, stride and number of rows. */
static const rows_fn squares[6][3][FIL_DW_ROWS + 1] = {
#define Y(K, S, R) [K][S][R] = square_##K##_##S##_##R,
    SQUARES
#undef Y
#undef X
};
static const rows_fn anies[FIL_DW_ROWS + 1] = {0, any_1, any_2, any_3, any_4};

static int is_square(const fil_conv *g) {
  return g->kh == g->kw && g->sh == g->sw && g->dh == 1 && g->dw == 1;
}

static const rows_fn *rows_of(const fil_conv *g) {
  if (!is_square(g) || g->kh > 5 || g->sh > 2) return anies;
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

static const fw *taps_of(const fil_matrix *w, uint32_t r) {
#if FIL_LANES_F16
  return (const fw *)(const void *)w->halves + (size_t)r * w->cols;
#else
  if (!w->halves) return w->values + (size_t)r * w->cols;
  widen(w->wide, w->halves + (size_t)r * w->cols, w->cols);
  return w->wide;
#endif
}

static size_t padded(size_t n) { return (n + VL - 1) / VL * VL; }

/* Point the band at plane r. */
static void enter_plane(const fil_dwconv_args *a, band *b, uint32_t r) {
  const fil_conv *g = a->g;
  b->x = a->x + (size_t)r * a->x_pitch;
  b->out = a->out + (size_t)r * a->out_pitch;
  b->out_limit = b->out + padded((size_t)a->rows * g->out_w);
  b->w = taps_of(&a->w, r);
  b->bias = a->w.bias[r];
}

/* By way of scratch. */
static void run_copied(const fil_dwconv_args *a, band *b) {
  const rows_fn *rows = rows_of(a->g);
  zero(b->rows, fil_dw_rows(a->g, a->rows < b->l.band ? a->rows : b->l.band) * b->l.row);
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
#elif FIL_EDGES
#include "kernels/dwconv/near.h"

static int run_direct(const fil_dwconv_args *a, band *b) {
  if (!is_near(a->g)) return 0;
  run_near(a, b);
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
