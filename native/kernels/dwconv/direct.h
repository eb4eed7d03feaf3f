/* Depthwise convolution straight from the plane, for instruction sets whose masked loads cost what
 * plain ones do: columns and rows outside the input are masked to zero, so that no row is copied.
 */
#ifndef FIL_DWCONV_DIRECT_H
#define FIL_DWCONV_DIRECT_H

enum { DIRECT_ROWS = (FIL_DW_ROWS - 1) * 2 + 5, DIRECT_TAPS = 6 };

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

/* What K taps of one input row read for VL neighbouring outputs, column `first` being the first
 * output's first tap. */
FIL_INLINE void taps_of_row(const float *row, int64_t first, const vm *low, const vm *high,
                            vm alive, vf *x, const uint32_t K, const uint32_t S, const int whole) {
  if (S == 1) {
    FIL_UNROLL(k, K) {
      vm mask = whole ? low[k] : low[k] & alive;
      x[k] = v_load_m(row + first + (int64_t)k, mask);
    }
    return;
  }
  FIL_UNROLL(j, (K + 1) / 2) {
    vm a = whole ? low[j] : low[j] & alive, b = whole ? high[j] : high[j] & alive;
    v_load2_m(row + first + 2 * (int64_t)j, a, b, &x[2 * j], &x[2 * j + 1]);
  }
}

/* R output rows from oy, K x K taps, stride S; whole: all their input rows exist. */
FIL_INLINE void direct(const band *b, uint32_t oy, const uint32_t K, const uint32_t S,
                       const uint32_t R, const int whole) {
  const fil_conv *g = b->g;
  vf w[25];
  const float *row[DIRECT_ROWS];
  vm alive[DIRECT_ROWS];
  FIL_UNROLL(k, K * K) w[k] = v_set1(b->w[k]);
  int64_t top = (int64_t)oy * S - g->pad_top;
  FIL_UNROLL(y, (R - 1) * S + K) {
    int64_t iy = top + (int64_t)y;
    int inside = iy >= 0 && iy < (int64_t)g->in_h;
    alive[y] = inside ? (vm)-1 : 0;
    row[y] = b->x + (inside ? iy : 0) * (int64_t)g->in_w;
  }
  for (uint32_t ox = 0; ox < g->out_w; ox += VL) {
    int64_t first = (int64_t)ox * S - g->pad_left;
    vm low[DIRECT_TAPS], high[DIRECT_TAPS];
    const uint32_t masks = S == 1 ? K : (K + 1) / 2;
    FIL_UNROLL(k, masks) {
      low[k] = inside_row(first + (int64_t)k * S, g->in_w);
      high[k] = inside_row(first + (int64_t)k * S + VL, g->in_w);
    }
    vf sum[FIL_DW_ROWS];
    FIL_UNROLL(r, R) sum[r] = v_set1(b->bias);
    FIL_UNROLL(y, (R - 1) * S + K) {
      vf x[DIRECT_TAPS];
      taps_of_row(row[y], first, low, high, alive[y], x, K, S, whole);
      FIL_UNROLL(k, K)
        FIL_UNROLL(r, R) {
          size_t ky = y - r * S; /* wraps above the kernel */
          if (ky < K) sum[r] = v_fma(x[k], w[ky * K + k], sum[r]);
        }
    }
    vm keep = v_first(g->out_w - ox < VL ? g->out_w - ox : VL);
    float *out = b->out + (size_t)oy * g->out_w + ox;
    FIL_UNROLL(r, R) v_store_m(out + r * g->out_w, v_clamp(sum[r], b->bounds), keep);
  }
}

FIL_INLINE void direct_rows(const band *b, uint32_t oy, const uint32_t K, const uint32_t S,
                            const uint32_t R) {
  int64_t top = (int64_t)oy * S - b->g->pad_top;
  if (top >= 0 && top + (R - 1) * S + K <= b->g->in_h) direct(b, oy, K, S, R, 1);
  else direct(b, oy, K, S, R, 0);
}

#define X(K, S) Y(K, S, 1) Y(K, S, 2) Y(K, S, 3) Y(K, S, 4)
#define Y(K, S, R)                                                                                 \
  static void direct_##K##_##S##_##R(const band *b, const float *rows, uint32_t oy) {              \
    (void)rows;                                                                                    \
    direct_rows(b, oy, K, S, R);                                                                   \
  }
SQUARES
#undef Y

static const rows_fn directs[6][3][FIL_DW_ROWS + 1] = {
#define Y(K, S, R) [K][S][R] = direct_##K##_##S##_##R,
    SQUARES
#undef Y
#undef X
};
#endif
