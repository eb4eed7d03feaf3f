/* qspmm on vectors of 16 bytes: 16 positions of four planes, four sums for each row. What includes
 * this defines, beside simd/q8_<isa>.h:
 *   J                 how many of a row's four sums are in registers at a time
 *   quad, quad_of     4 J positions of four planes, as dot takes them
 *   qw, load_weights  the weights of up to four rows
 *   dot(sum, quad, weights, r, j)  row r of the weights times positions 4 j to 4 j + 3
 *   is_heavy          whether dot needs to know that this group has other weights than most */
#include "simd/q8_round.h"

/* Positions for which a group is entered: all planes' bytes of them stay near. */
enum { T = 16, NEAR = 16 << 10, MOST = 1024 };

FIL_INLINE void store_row(const fil_qspmm_args *a, size_t row, size_t p, uint32_t n,
                          const s4 sum[4]) {
  float multiplier = a->w.multipliers[row];
  b16 v = {0};
  if (a->residual) {
    v = load_bytes(a->residual + row * a->residual_pitch + p, n);
    v = b16_requantized(sum, multiplier, v, &a->q, 1);
  } else {
    v = b16_requantized(sum, multiplier, v, &a->q, 0);
  }
  store_bytes(a->out + row * a->out_pitch + p, v, n);
}

/* The next quad's part of the sums of R rows; `left` columns are not multiplied yet. */
FIL_INLINE void add_quad(columns *c, uint32_t left, const int8_t *w, size_t p, uint32_t n,
                         s4 sum[4][J], const uint32_t R, const fil_coding coding, const int heavy) {
  const int8_t *x[4];
  next_quad(c, left, coding, x);
  FIL_UNROLL(j, 4) x[j] += p;
  quad v = quad_of(x, n);
  qw weights = load_weights(w, R);
  FIL_UNROLL(r, R)
    FIL_UNROLL(j, J) sum[r][j] = dot(sum[r][j], &v, &weights, r, j, heavy);
}

/* Sums `first` to `first` + J - 1 of R rows, of n positions from p on. */
FIL_INLINE void add_columns(const fil_qspmm_args *a, const group *g, size_t row, const int8_t *w,
                            size_t p, uint32_t n, s4 to[4][4], const uint32_t first,
                            const uint32_t R, const fil_coding coding, const int heavy) {
  s4 sum[4][J];
  FIL_UNROLL(r, R)
    FIL_UNROLL(j, J) sum[r][j] = s4_set1(a->w.sums[row + r]);
  size_t step = (size_t)a->w.block_rows * FIL_QUAD;
  columns c = columns_of(a, g);
  uint32_t left = g->blocks;
  for (; left >= FIL_QUAD; left -= FIL_QUAD, w += step)
    add_quad(&c, FIL_QUAD, w, p, n, sum, R, coding, heavy);
  if (left) add_quad(&c, left, w, p, n, sum, R, coding, heavy);
  FIL_UNROLL(r, R)
    FIL_UNROLL(j, J) to[r][first + j] = sum[r][j];
}

/* R rows from `row` on, whose weights are `w`, of n positions from p on. */
FIL_INLINE void tile(const fil_qspmm_args *a, const group *g, size_t row, const int8_t *w, size_t p,
                     uint32_t n, const uint32_t R, const fil_coding coding, const int heavy) {
  s4 sum[4][4] = {0};
  FIL_UNROLL(i, 4 / J)
    if (n > 4 * J * i)
      add_columns(a, g, row, w, p + 4 * J * i, n - 4 * J * i, sum, J * i, R, coding, heavy);
  FIL_UNROLL(r, R) {
    if (row + r >= a->w.rows) return;
    store_row(a, row + r, p, n, sum[r]);
  }
}

/* R rows of a group from its row `first` on, positions [from, to). */
FIL_INLINE void rows(const fil_qspmm_args *args, const group *g, uint32_t first, size_t from,
                     size_t to, const uint32_t R, const fil_coding coding, const int heavy) {
  const fil_qspmm_args a = *args; /* stored bytes may be anything but this */
  const group k = {.index = g->index, .blocks = g->blocks};
  const int8_t *w = g->quads + first * FIL_QUAD;
  for (; from + T <= to; from += T) tile(&a, &k, g->row + first, w, from, T, R, coding, heavy);
  if (from < to) tile(&a, &k, g->row + first, w, from, (uint32_t)(to - from), R, coding, heavy);
}

/* Row by row: such groups are rare, and code for four would be much. */
static void run_heavy(const fil_qspmm_args *a, const group *g, size_t from, size_t to) {
  for (uint32_t r = 0; r < a->w.block_rows && g->row + r < a->w.rows; r++)
    rows(a, g, r, from, to, 1, (fil_coding)a->w.coding, 1);
}

static void run_group(const fil_qspmm_args *a, const group *g, size_t from, size_t to) {
#define PASS(first, R, coding) rows(a, g, first, from, to, R, coding, 0)
  if (is_heavy(&a->w, g)) run_heavy(a, g, from, to);
  else EACH_PASS(a, g, PASS)
#undef PASS
}

static void run(const fil_qspmm_args *a) {
  const fil_matrix *w = &a->w;
  size_t end = a->padded < T ? a->positions : (a->positions + T - 1) / T * T;
  uint32_t chunk = NEAR / w->cols / T * T;
  chunk = chunk < T ? T : chunk < MOST ? chunk : MOST;
  for (size_t p = 0; p < end; p += chunk) {
    group g = first_group(w);
    for (uint32_t i = 0; i < w->groups; i++) {
      g.row = i * w->block_rows;
      g.blocks = w->coding == FIL_CODING_NONE ? w->cols : w->count[i];
      run_group(a, &g, p, end - p < chunk ? end : p + chunk);
      leave_group(w, &g);
    }
  }
}
