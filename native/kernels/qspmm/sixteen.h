/* qspmm on vectors of 16 bytes: 16 positions of four planes at a time, four sums for each row. What
 * includes this defines, beside simd/q8_<isa>.h:
 *   qw           the weights of up to four rows, ready for dot
 *   load_weights, dot(sum, quad, weights, r): row r of the weights times positions 4 j to 4 j + 3
 *   quad_of      what dot takes, from four vectors of bytes */

/* Whole fours of bytes, as a plane's padding allows. */
FIL_INLINE b16 load_bytes(const int8_t *x, uint32_t n) {
  if (n > 12) return b16_load(x);
  int8_t room[16] = {0};
  for (uint32_t i = 0; i < n; i += 4) __builtin_memcpy(room + i, x + i, 4);
  return b16_load(room);
}

FIL_INLINE void store_bytes(int8_t *to, b16 v, uint32_t n) {
  int8_t room[16];
  if (n > 12) {
    b16_store(to, v);
    return;
  }
  b16_store(room, v);
  for (uint32_t i = 0; i < n; i += 4) __builtin_memcpy(to + i, room + i, 4);
}

FIL_INLINE s4 rounded(s4 sum, f4 factor, f4 y, const int more) {
  f4 x = f4_mul(f4_of(sum), factor);
  if (more) x = f4_add(x, y);
  return s4_round(f4_min(x, f4_set1(32767.0f)));
}

FIL_INLINE void store_row(const fil_qspmm_args *a, size_t row, size_t p, uint32_t n,
                          const s4 sum[4], const int more) {
  const fil_rescale *q = &a->q;
  f4 factor = f4_set1(a->w.multipliers[row]), y[4] = {factor, factor, factor, factor};
  if (more) {
    s4 whole[4];
    b16_widen(load_bytes(a->residual + row * a->residual_pitch + p, n), whole);
    FIL_UNROLL(j, 4)
      y[j] = f4_mul(f4_of(s4_sub(whole[j], s4_set1(q->residual_zero))), f4_set1(q->residual_scale));
  }
  s4 v[4];
  FIL_UNROLL(j, 4) v[j] = rounded(sum[j], factor, y[j], more);
  b16 out = b16_pack(v, (int16_t)q->zero);
  store_bytes(a->out + row * a->out_pitch + p, b16_between(out, (int8_t)q->lo, (int8_t)q->hi), n);
}

/* R rows of a group from its row `first` on. */
FIL_INLINE void rows(const fil_qspmm_args *a, const group *g, uint32_t first, size_t p, uint32_t n,
                     const uint32_t R, const fil_coding coding) {
  s4 sum[4][4];
  FIL_UNROLL(r, R)
    FIL_UNROLL(j, 4) sum[r][j] = s4_set1(g->start[first + r]);
  const int8_t *w = g->quads + first * FIL_QUAD;
  size_t step = (size_t)a->w.block_rows * FIL_QUAD;
  columns c = columns_of(a, g);
  for (uint32_t i = 0; i < g->blocks; i += FIL_QUAD, w += step) {
    const int8_t *x[4];
    b16 bytes[4];
    next_quad(&c, g->blocks - i, coding, x);
    FIL_UNROLL(j, 4) bytes[j] = load_bytes(x[j] + p, n);
    quad v = quad_of(bytes);
    qw weights = load_weights(w, R);
    FIL_UNROLL(r, R)
      FIL_UNROLL(j, 4) sum[r][j] = dot(sum[r][j], &v, &weights, r, j);
  }
  FIL_UNROLL(r, R) {
    size_t row = g->row + first + r;
    if (row >= a->w.rows) return;
    if (a->residual) store_row(a, row, p, n, sum[r], 1);
    else store_row(a, row, p, n, sum[r], 0);
  }
}

static void tile(const fil_qspmm_args *a, const group *g, size_t p, uint32_t n) {
#define PASS(first, R, coding) rows(a, g, first, p, n, R, coding)
  EACH_PASS(a, g, PASS)
#undef PASS
}

static void run(const fil_qspmm_args *a) {
  for (uint32_t p = 0; p < a->positions; p += 16) {
    group g = first_group(&a->w);
    for (uint32_t i = 0; i < a->w.groups; i++) {
      enter_group(&a->w, &g, i);
      tile(a, &g, p, a->positions - p < 16 && a->padded < 16 ? a->positions - p : 16);
      leave_group(&a->w, &g);
    }
  }
}
