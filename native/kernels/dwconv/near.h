/* Depthwise 3x3 convolution straight from the plane, for instruction sets whose vectors are narrow:
 * no row is copied. Inner strips of VL output columns load vectors as they lie; strips at an end of
 * the row load by v_edge, which reads nothing outside of it. The last strip overlaps the one before
 * it. Rows outside the input are a row of zeros. Nine weights, three taps and three sums are as
 * many as 15 registers hold; larger kernels go by way of scratch.
 */
#ifndef FIL_DWCONV_NEAR_H
#define FIL_DWCONV_NEAR_H

enum { TAPS = 3, READS = 4, MOST_OUTS = 32 };

/* VL output columns from ox, whose taps are not all inside a row. */
typedef struct strip {
  uint32_t ox;
  v_edge edges[READS];
} strip;

/* Inner strips i in [from, to) start at column i * VL, but in [low, high]. */
typedef struct strips {
  strip ends[2];
  uint32_t n_ends, from, to, low, high;
} strips;

/* Input columns from a strip's first to its last. */
static int64_t span_of(const fil_conv *g) { return (VL - 1) * (int64_t)g->sw + TAPS; }

/* Where the i-th vector that a strip reads of a row starts, from the first tap's column on. Stride
 * 2 reads in pairs, of which one gives two taps and one, a column to the left, the last. */
FIL_INLINE uint32_t read_at(uint32_t i, uint32_t S) { return S == 1 ? i : i / 2 + i % 2 * VL; }

static void add_end(const fil_conv *g, strips *s, uint32_t ox) {
  int64_t first = (int64_t)ox * g->sw - g->pad_left;
  strip *e = &s->ends[s->n_ends++];
  e->ox = ox;
  for (uint32_t i = 0; i < READS; i++) e->edges[i] = v_edge_at(first + read_at(i, g->sw), g->in_w);
}

static strips strips_of(const fil_conv *g) {
  uint32_t all = (g->out_w + VL - 1) / VL, last = g->out_w < VL ? 0 : g->out_w - VL;
  int64_t high = g->in_w - span_of(g) + g->pad_left;
  strips s = {.to = all, .low = (g->pad_left + g->sw - 1u) / g->sw};
  s.high = high < 0 ? 0 : (uint32_t)high / g->sw < last ? (uint32_t)high / g->sw : last;
  if (s.low > 0 || high < 0) add_end(g, &s, 0), s.from = 1;
  if (s.high < last) add_end(g, &s, last), s.to--;
  return s;
}

/* What strips of some output rows have in common. */
typedef struct walk {
  const float *rows[(MOST_OUTS - 1) * 2 + TAPS];
  const float *w;
  const float *limit; /* the output plane's end */
  vf bias;
  v_bounds bounds;
  size_t next; /* from output row to output row */
  uint32_t outs;
} walk;

/* The i-th vector that a strip reads of a row; s: NULL for an inner one, its first tap at `at`. */
FIL_INLINE vf read(const float *row, const strip *s, size_t at, uint32_t i, const uint32_t S) {
  return s ? v_load_edge(row, &s->edges[i]) : v_load(row + at + read_at(i, S));
}

FIL_INLINE void read_taps(const float *row, const strip *s, size_t at, vf *x, const uint32_t S) {
  if (S == 1) {
    FIL_UNROLL(k, TAPS) x[k] = read(row, s, at, (uint32_t)k, 1);
    return;
  }
  vf unused;
  v_split(read(row, s, at, 0, S), read(row, s, at, 1, S), &x[0], &x[1]);
  v_split(read(row, s, at, 2, S), read(row, s, at, 3, S), &unused, &x[2]);
}

/* A row of fewer columns than a vector overhangs into the next, which is written later. */
FIL_INLINE void store_strip(const walk *k, float *out, vf y) {
  if (k->limit - out >= VL) v_store(out, y);
  else v_store_n(out, y, (uint32_t)(k->limit - out));
}

/* s + one row of taps, left to right. */
FIL_INLINE vf add_taps(vf s, const vf *x, const vf *w) {
  FIL_UNROLL(k, TAPS) s = v_fma(x[k], w[k], s);
  return s;
}

/* Down a strip of output columns from `out` on. Every input row is read once: it ends one output,
 * goes on with the next and, at stride 1, begins a third. */
FIL_INLINE void run_strip(const walk *k, const strip *s, size_t at, float *out, const uint32_t S) {
  vf w[TAPS * TAPS], x[TAPS], sum, next;
  FIL_UNROLL(i, TAPS * TAPS) w[i] = v_set1(k->w[i]);
  const float *const *row = k->rows;
  read_taps(*row++, s, at, x, S);
  sum = add_taps(k->bias, x, w);
  if (S == 1) {
    read_taps(*row++, s, at, x, S);
    sum = add_taps(sum, x, w + TAPS);
    next = add_taps(k->bias, x, w);
  }
  for (float *end = out + k->outs * k->next; out != end; out += k->next) {
    if (S == 2) {
      read_taps(*row++, s, at, x, S);
      sum = add_taps(sum, x, w + TAPS);
    }
    read_taps(*row++, s, at, x, S);
    store_strip(k, out, v_clamp(add_taps(sum, x, w + 2 * TAPS), k->bounds));
    sum = S == 1 ? add_taps(next, x, w + TAPS) : add_taps(k->bias, x, w);
    if (S == 1) next = add_taps(k->bias, x, w);
  }
}

/* Where input rows from output row oy's first on lie; `top` wraps above the input. */
static void find_rows(const band *b, walk *k, uint32_t oy) {
  const fil_conv *g = b->g;
  uint64_t top = (uint64_t)oy * g->sh - g->pad_top, n = fil_dw_rows(g, k->outs);
  for (uint64_t y = 0; y < n; y++) {
    k->rows[y] = top + y < g->in_h ? b->x + place_of(b, top + y) * g->in_w : b->rows;
  }
}

/* All strips of some output rows. */
FIL_INLINE void run_strips(const band *b, const walk *k, const strips *s, float *out,
                           const uint32_t S) {
  size_t pad = b->g->pad_left;
  for (uint32_t i = s->from; i < s->to; i++) {
    uint32_t ox = i * VL < s->low ? s->low : i * VL < s->high ? i * VL : s->high;
    run_strip(k, 0, ox * S - pad, out + ox, S);
  }
  for (const strip *e = s->ends; e < s->ends + s->n_ends; e++) run_strip(k, e, 0, out + e->ox, S);
}

static void strips_1(const band *b, const walk *k, const strips *s, float *out) {
  run_strips(b, k, s, out, 1);
}
static void strips_2(const band *b, const walk *k, const strips *s, float *out) {
  run_strips(b, k, s, out, 2);
}

/* Output rows at a time: the cache lines of their input rows serve several strips. */
static uint32_t rows_at_once(const fil_conv *g) {
  uint32_t rows = FIL_DW_FLOATS / 2 / g->in_w / g->sh;
  return rows < 8 ? 8 : rows < MOST_OUTS ? rows : MOST_OUTS;
}

static void run_near(const fil_dwconv_args *a, band *b) {
  const fil_conv *g = a->g;
  strips s = strips_of(g);
  walk k = {.next = g->out_w, .bounds = b->bounds};
  uint32_t most = rows_at_once(g);
  zero(b->rows, b->l.row);
  for (uint32_t r = 0; r < a->w.rows; r++) {
    enter_plane(a, b, r);
    k.w = b->w, k.bias = v_set1(b->bias), k.limit = b->out_limit;
    for (uint32_t done = 0; done < a->rows; done += k.outs) {
      k.outs = a->rows - done < most ? a->rows - done : most;
      find_rows(b, &k, a->first + done);
      (g->sw == 1 ? strips_1 : strips_2)(b, &k, &s, b->out + (size_t)done * g->out_w);
    }
    if (b->bounds.late) finish_late(a, b, r, a->first, a->rows);
  }
}

/* Rows of a vector at least, and less padding than taps. */
static int is_near(const fil_conv *g) {
  int64_t behind = (int64_t)(g->out_w - 1) * g->sw + TAPS - g->in_w - g->pad_left;
  return is_square(g) && g->kw == TAPS && g->sw <= 2 && g->in_w >= VL && g->pad_left < TAPS &&
         behind < TAPS;
}
#endif
