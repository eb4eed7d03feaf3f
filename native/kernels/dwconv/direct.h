/* Depthwise convolution straight from the plane, for instruction sets whose masked loads cost what
 * plain ones do: columns and rows outside the input are masked to zero, so that no row is copied.
 */
#ifndef FIL_DWCONV_DIRECT_H
#define FIL_DWCONV_DIRECT_H

enum { DIRECT_TAPS = 6 };

/* VL output columns from `ox`, and which columns of a row their taps may read: stride 1 has a mask
 * for each tap, stride 2 one for each pair of taps and half of the columns they lie in. */
typedef struct strip {
  vm low[DIRECT_TAPS], high[DIRECT_TAPS], keep;
  int64_t first; /* input column of the first output's first tap */
  uint32_t ox;
} strip;

static int is_direct(const fil_conv *g) {
  return g->kh == g->kw && (g->kh == 3 || g->kh == 5) && g->sh == g->sw && g->sh <= 2 &&
         g->dh == 1 && g->dw == 1;
}

/* Which of the VL columns from `first` on are inside a row of `width`. */
FIL_INLINE vm inside_row(int64_t first, int64_t width) {
  int64_t from = first < 0 ? -first : 0, to = width - first;
  if (from > VL) from = VL;
  if (to < 0) to = 0;
  if (to > VL) to = VL;
  return v_first((uint32_t)to) & (vm)~v_first((uint32_t)from);
}

FIL_INLINE strip strip_at(const fil_conv *g, uint32_t ox, const uint32_t K, const uint32_t S) {
  strip s = {.ox = ox, .first = (int64_t)ox * S - g->pad_left};
  const uint32_t masks = S == 1 ? K : (K + 1) / 2;
  FIL_UNROLL(k, masks) {
    s.low[k] = inside_row(s.first + (int64_t)k * S, g->in_w);
    s.high[k] = inside_row(s.first + (int64_t)k * S + VL, g->in_w);
  }
  s.keep = v_first(g->out_w - ox < VL ? g->out_w - ox : VL);
  return s;
}

/* What K taps of one input row read; alive: all lanes, or none for a row outside the input. */
FIL_INLINE void taps_of_row(const strip *s, const float *row, vm alive, vf *x, const uint32_t K,
                            const uint32_t S, const int whole) {
  row += s->first;
  if (S == 1) {
    FIL_UNROLL(k, K) {
      x[k] = v_load_m(row + k, whole ? s->low[k] : s->low[k] & alive);
    }
    return;
  }
  FIL_UNROLL(j, (K + 1) / 2) {
    vm low = whole ? s->low[j] : s->low[j] & alive, high = whole ? s->high[j] : s->high[j] & alive;
    v_load2_m(row + 2 * j, low, high, &x[2 * j], &x[2 * j + 1]);
  }
}

/* R output rows from oy of a strip; whole: all their input rows exist. */
FIL_INLINE void direct(const band *b, const strip *s, const vf *w, uint32_t oy, const uint32_t K,
                       const uint32_t S, const uint32_t R, const int whole) {
  const fil_conv *g = b->g;
  uint64_t top = (uint64_t)oy * S - g->pad_top; /* wraps above the input */
  vf sum[FIL_DW_ROWS];
  FIL_UNROLL(r, R) sum[r] = v_set1(b->bias);
  FIL_UNROLL(y, (R - 1) * S + K) {
    uint64_t iy = top + y;
    int inside = whole || iy < g->in_h;
    vf x[DIRECT_TAPS];
    taps_of_row(s, b->x + (inside ? iy : 0) * g->in_w, inside ? (vm)-1 : 0, x, K, S, whole);
    FIL_UNROLL(k, K) {
      FIL_UNROLL(r, R) {
        size_t ky = y - r * S; /* wraps above the kernel */
        if (ky < K) sum[r] = v_fma(x[k], w[ky * K + k], sum[r]);
      }
    }
  }
  float *out = b->out + (size_t)oy * g->out_w + s->ox;
  FIL_UNROLL(r, R) v_store_m(out + r * g->out_w, v_clamp(sum[r], b->bounds), s->keep);
}

/* Whether the input rows of output rows [oy, oy + R) all exist. */
FIL_INLINE int is_whole(const fil_conv *g, uint32_t oy, const uint32_t K, const uint32_t S,
                        const uint32_t R) {
  uint64_t top = (uint64_t)oy * S, rows = (R - 1) * S + K;
  return top >= g->pad_top && top - g->pad_top + rows <= g->in_h;
}

/* Output rows [oy, oy + outs): weights and masks stay in registers down a strip. Rows at an edge,
 * and what is left of four, go one by one. */
FIL_INLINE void direct_band(const band *b, uint32_t oy, uint32_t outs, const uint32_t K,
                            const uint32_t S) {
  const fil_conv *g = b->g;
  vf w[25];
  FIL_UNROLL(k, K * K) w[k] = v_set1(b->w[k]);
  for (uint32_t ox = 0; ox < g->out_w; ox += VL) {
    strip s = strip_at(g, ox, K, S);
    for (uint32_t done = 0; done < outs;) {
      if (outs - done >= FIL_DW_ROWS && is_whole(g, oy + done, K, S, FIL_DW_ROWS)) {
        direct(b, &s, w, oy + done, K, S, FIL_DW_ROWS, 1);
        done += FIL_DW_ROWS;
      } else {
        direct(b, &s, w, oy + done, K, S, 1, 0);
        done++;
      }
    }
  }
}

typedef void (*direct_fn)(const band *, uint32_t oy, uint32_t outs);

#define X(K, S)                                                                                    \
  static void direct_##K##_##S(const band *b, uint32_t oy, uint32_t outs) {                        \
    direct_band(b, oy, outs, K, S);                                                                \
  }
SQUARES
#undef X

static const direct_fn directs[6][3] = {
#define X(K, S) [K][S] = direct_##K##_##S,
    SQUARES
#undef X
};

static void run_direct(const band *b, uint32_t oy, uint32_t outs) {
  directs[b->g->kh][b->g->sh](b, oy, outs);
}
#endif
