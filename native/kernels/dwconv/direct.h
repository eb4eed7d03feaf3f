/* Depthwise convolution straight from the plane, for instruction sets whose masked loads cost what
 * plain ones do: columns and rows outside the input are masked to zero, so that no row is copied.
 *
 * Included once for whole vectors and once for halves (rows of at most that many columns): D(name)
 * is the name for that width, DF and DL are its vector and lanes.
 */

/* DL output columns from `ox`, and which columns of a row their taps may read: stride 1 has a mask
 * for each tap, stride 2 one for each pair of taps and half of the columns they lie in. */
typedef struct D(strip) {
  vm low[MASKS], high[MASKS], keep;
  int64_t first; /* input column of the first output's first tap */
  uint32_t ox;
} D(strip);

/* Which of the DL columns from `first` on are inside a row of `width`. */
static vm D(inside)(int64_t first, int64_t width) {
  int64_t from = first < 0 ? -first : 0, to = width - first;
  if (from > DL) from = DL;
  if (to < 0) to = 0;
  if (to > DL) to = DL;
  return v_first((uint32_t)to) & (vm)~v_first((uint32_t)from);
}

static D(strip) D(strip_at)(const fil_conv *g, uint32_t ox) {
  D(strip) s = {.ox = ox, .first = (int64_t)ox * g->sw - g->pad_left};
  for (uint32_t k = 0; k < MASKS; k++) {
    s.low[k] = D(inside)(s.first + (int64_t)k * g->sw, g->in_w);
    s.high[k] = D(inside)(s.first + (int64_t)k * g->sw + DL, g->in_w);
  }
  s.keep = v_first(g->out_w - ox < DL ? g->out_w - ox : DL);
  return s;
}

/* What K taps of one input row read; alive: all lanes, or none for a row outside the input. */
FIL_INLINE void D(taps)(const D(strip) * s, const float *row, vm alive, DF *x, const uint32_t K,
                        const uint32_t S, const int whole) {
  row += s->first;
  if (S == 1) {
    FIL_UNROLL(k, K) {
      x[k] = D(load_m)(row + k, whole ? s->low[k] : s->low[k] & alive);
    }
    return;
  }
  FIL_UNROLL(j, (K + 1) / 2) {
    vm low = whole ? s->low[j] : s->low[j] & alive, high = whole ? s->high[j] : s->high[j] & alive;
    D(load2_m)(row + 2 * j, low, high, &x[2 * j], &x[2 * j + 1]);
  }
}

/* R output rows from oy of a strip; whole: all their input rows exist. */
FIL_INLINE void D(tile)(const band *b, const D(strip) * s, const DF *w, uint32_t oy,
                        const uint32_t K, const uint32_t S, const uint32_t R, const int whole) {
  const fil_conv *g = b->g;
  uint64_t top = (uint64_t)oy * S - g->pad_top; /* wraps above the input */
  uint64_t place = whole ? place_of(b, top) : 0;
  DF sum[DIRECT_ROWS];
  FIL_UNROLL(r, R) sum[r] = D(set1)(b->bias);
  FIL_UNROLL(y, (R - 1) * S + K) {
    int inside = whole || top + y < g->in_h;
    uint64_t at = place + y;
    if (whole) at -= at >= b->ring ? b->ring : 0;
    else at = inside ? place_of(b, top + y) : 0;
    DF x[DIRECT_TAPS + 1];
    D(taps)(s, b->x + at * g->in_w, inside ? (vm)-1 : 0, x, K, S, whole);
    FIL_UNROLL(k, K) {
      FIL_UNROLL(r, R) {
        size_t ky = y - r * S; /* wraps above the kernel */
        if (ky < K) sum[r] = D(fma)(x[k], w[ky * K + k], sum[r]);
      }
    }
  }
  float *out = b->out + (size_t)(oy - b->first) * g->out_w + s->ox;
  DF lo = D(narrow)(b->bounds.lo), hi = D(narrow)(b->bounds.hi);
  FIL_UNROLL(r, R) D(store_m)(out + r * g->out_w, D(min)(D(max)(sum[r], lo), hi), s->keep);
}

/* Output rows [oy, oy + outs): weights and masks stay in registers down a strip. Rows at an edge go
 * four at a time and inner ones MOST; the last four may repeat rows. */
FIL_INLINE void D(plane)(const band *b, const D(strip) * strips, uint32_t n, uint32_t oy,
                         uint32_t outs, const uint32_t K, const uint32_t S, const uint32_t MOST) {
  DF w[DIRECT_TAPS * DIRECT_TAPS];
  FIL_UNROLL(k, K * K) w[k] = D(set1)(b->w[k]);
  for (uint32_t i = 0; i < n; i++) {
    D(strip) s = strips[i];
    for (uint32_t done = 0, rows; done < outs; done += rows) {
      rows = outs - done;
      if (rows >= MOST && is_whole(b, oy + done, MOST)) {
        D(tile)(b, &s, w, oy + done, K, S, rows = MOST, 1);
      } else if (outs >= 4) {
        if (rows < 4) done = outs - 4;
        D(tile)(b, &s, w, oy + done, K, S, rows = 4, 0);
      } else {
        D(tile)(b, &s, w, oy + done, K, S, rows = 1, 0);
      }
    }
  }
}

typedef void (*D(plane_fn))(const band *, const D(strip) *, uint32_t n, uint32_t oy, uint32_t outs);

#define X(K, S)                                                                                    \
  static void D(plane_##K##_##S)(const band *b, const D(strip) * s, uint32_t n, uint32_t oy,       \
                                 uint32_t outs) {                                                  \
    D(plane)(b, s, n, oy, outs, K, S, K == 3 ? DIRECT_ROWS : 4);                                   \
  }
SQUARES
#undef X

static D(plane_fn) D(plane_of)(const fil_conv *g) {
#define X(K, S)                                                                                    \
  if (g->kw == K && g->sw == S) return D(plane_##K##_##S);
  SQUARES
#undef X
  return 0;
}

/* As many strips of every plane at a time as masks are kept of. */
static void D(run)(const fil_dwconv_args *a, band *b) {
  const fil_conv *g = a->g;
  D(plane_fn) run = D(plane_of)(g);
  D(strip) strips[STRIPS];
  for (uint32_t ox = 0; ox < g->out_w; ox += STRIPS * DL) {
    uint32_t n = 0, last = g->out_w - ox <= STRIPS * DL;
    for (; n < STRIPS && ox + n * DL < g->out_w; n++) strips[n] = D(strip_at)(g, ox + n * DL);
    for (uint32_t r = 0; r < a->w.rows; r++) {
      enter_plane(a, b, r);
      run(b, strips, n, a->first, a->rows);
      if (b->bounds.late && last) finish_late(a, b, r, a->first, a->rows);
    }
  }
}
