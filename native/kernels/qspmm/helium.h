/* qspmm on Helium, whose one fast product of bytes adds up all sixteen of a vector: lanes run over
 * columns. Four columns at a time are interleaved into words, a word for each position; a vector is
 * the words of sixteen columns at one position, and is multiplied by those weights of each row. */
#include "simd/q8_helium.h"

enum {
  T = 64,    /* positions of a tile, the most */
  QUADS = 4, /* whose words make a vector */
  COLUMNS = 16,
  ROWS = 4,   /* of a pass: their weights stay in registers */
  PASSES = 4, /* over one panel, the most */
  MOST_PITCH = 1 << 14
};

/* Rows that share their columns: of one group or, if all columns are stored, of neighbours too.
 * w[i]: weights of pass i from row[i] on, quads `step` bytes apart. */
typedef struct bundle {
  columns columns;
  const int8_t *w[PASSES];
  uint32_t row[PASSES];
  uint32_t passes, rows, step, blocks, tile; /* rows: of a pass; tile: its positions */
} bundle;

/* Where the next bundle begins. */
typedef struct place {
  const int8_t *quads;
  const uint8_t *index;
  uint32_t group, row;
} place;

/* words: quads of positions. sums: of each pass, position and row. */
typedef struct room {
  int32_t words[QUADS][T];
  int32_t sums[T * ROWS];
} room;

/* Sixteen positions of a quad, or some of them. */
FIL_INLINE void interleave(int32_t *words, const int8_t *const x[FIL_QUAD], mve_pred16_t some) {
  int8x16x4_t v;
  FIL_UNROLL(j, FIL_QUAD) v.val[j] = vldrbq_z_s8(x[j], some);
  vst4q_s8((int8_t *)words, v);
}

/* n positions of the next sixteen columns, of which `left` are left. */
FIL_INLINE void fill(room *m, columns *from, uint32_t left, uint32_t n, const fil_coding coding) {
  columns c = *from;
  for (uint32_t k = 0; k < QUADS && k * FIL_QUAD < left; k++) {
    const int8_t *x[FIL_QUAD];
    int32_t *words = m->words[k];
    next_quad(&c, left - k * FIL_QUAD, coding, x);
    for (uint32_t i = n / 16; i; i--, words += 16) {
      interleave(words, x, (mve_pred16_t)-1);
      FIL_UNROLL(j, FIL_QUAD) x[j] += 16;
    }
    if (n % 16) interleave(words, x, vctp8q(n % 16));
  }
  *from = c;
}

static void fill_words(room *m, columns *c, uint32_t left, uint32_t n, fil_coding coding) {
  switch (coding) {
  case FIL_CODING_NONE: fill(m, c, left, n, FIL_CODING_NONE); break;
  case FIL_CODING_D8: fill(m, c, left, n, FIL_CODING_D8); break;
  default: fill(m, c, left, n, FIL_CODING_U16); break;
  }
}

/* sums[r] += weights[r] . x at n positions, four rows; x_at: one word before the first ones. By
 * hand, as compilers take thirteen instructions for these ten. */
#define LOOP(load, multiply)                                                                       \
  __asm__ volatile("wls lr, %[n], 2f\n1:\n" load "vldrw.u32 q7, [%q[x], #4]!\n" multiply           \
                   "strd %[s2], %[s3], [%[sums], #8]\n"                                            \
                   "strd %[s0], %[s1], [%[sums]], #16\n le lr, 1b\n2:\n"                           \
                   : [sums] "+r"(sums), [x] "+w"(x_at), [s0] "=&Te"(s0), [s1] "=&Te"(s1),          \
                     [s2] "=&Te"(s2), [s3] "=&Te"(s3)                                              \
                   : [n] "r"(n), [w0] "w"(w[0]), [w1] "w"(w[1]), [w2] "w"(w[2]), [w3] "w"(w[3])    \
                   : "q7", "lr", "memory")
#define EACH_ROW(op)                                                                               \
  op " %[s0], %q[w0], q7\n" op " %[s1], %q[w1], q7\n" op " %[s2], %q[w2], q7\n" op                 \
     " %[s3], %q[w3], q7\n"

FIL_INLINE void multiply_four(int32_t *sums, const int8x16_t w[ROWS], uint32x4_t x_at, uint32_t n,
                              const int first) {
  int32_t s0, s1, s2, s3;
  if (first) LOOP("", EACH_ROW("vmladav.s8"));
  else
    LOOP("ldrd %[s0], %[s1], [%[sums]]\n ldrd %[s2], %[s3], [%[sums], #8]\n",
         EACH_ROW("vmladava.s8"));
}

FIL_INLINE void multiply_few(int32_t *sums, const int8x16_t w[ROWS], uint32x4_t x_at, uint32_t n,
                             const uint32_t R, const int first) {
  for (; n; n--, sums += ROWS) {
    int8x16_t x = vreinterpretq_s8_s32(vldrwq_gather_base_wb_s32(&x_at, 4));
    FIL_UNROLL(r, R) sums[r] = first ? vmladavq_s8(w[r], x) : vmladavaq_s8(sums[r], w[r], x);
  }
}

/* Columns [i, i + 16) of all passes, R rows each. */
FIL_INLINE void multiply(room *m, const bundle *b, uint32_t i, uint32_t n, const uint32_t R) {
  const uint32x4_t at = vidupq_n_u32(0, 1), weights_at = vmulq_n_u32(at, b->step);
  const uint32x4_t x_at = vaddq_n_u32(vmulq_n_u32(at, sizeof m->words[0]),
                                      (uint32_t)(uintptr_t)m->words - sizeof m->words[0][0]);
  const mve_pred16_t some = vctp32q(fil_quads(b->blocks - i));
  int32_t *sums = m->sums;
  for (uint32_t k = 0; k < b->passes; k++, sums += b->tile * ROWS) {
    uint32_t w = (uint32_t)(uintptr_t)b->w[k] + i / FIL_QUAD * b->step;
    uint32x4_t words = vaddq_n_u32(weights_at, w);
    int8x16_t weights[ROWS];
#define LOAD(r)                                                                                    \
  if (r < R) weights[r] = vreinterpretq_s8_s32(vldrwq_gather_base_z_s32(words, r * FIL_QUAD, some))
    LOAD(0);
    LOAD(1);
    LOAD(2);
    LOAD(3);
#undef LOAD
    if (R == ROWS && !i) multiply_four(sums, weights, x_at, n, 1);
    else if (R == ROWS) multiply_four(sums, weights, x_at, n, 0);
    else if (!i) multiply_few(sums, weights, x_at, n, R, 1);
    else multiply_few(sums, weights, x_at, n, R, 0);
  }
}

static void multiply_rows(room *m, const bundle *b, uint32_t i, uint32_t n) {
  if (b->rows == 1) multiply(m, b, i, n, 1);
  else if (b->rows == 2) multiply(m, b, i, n, 2);
  else multiply(m, b, i, n, ROWS);
}

/* n positions of a pass's rows from `row` on, as many as exist. */
static void store_rows(const fil_qspmm_args *a, const int32_t *sums, uint32_t row, size_t p,
                       uint32_t n, uint32_t rows) {
  const mve_pred16_t some = vctp32q(rows);
  const uint32x4_t at = vidupq_n_u32(0, 1), to_at = vmulq_n_u32(at, a->out_pitch);
  const int32x4_t start = vldrwq_z_s32(a->w.sums + row, some);
  const float32x4_t factor = vldrwq_z_f32(a->w.multipliers + row, some);
  int8_t *to = a->out + (size_t)row * a->out_pitch + p;
  if (!a->residual && a->out_pitch < MOST_PITCH) {
    const limits l = limits_of(&a->q);
    const uint16x8_t pairs_at =
        vreinterpretq_u16_u32(vsliq_n_u32(to_at, vaddq_n_u32(to_at, 1), 16));
    const mve_pred16_t both = some;
    for (; n > 1; n -= 2, to += 2, sums += 2 * ROWS) {
      int32x4_t low = vaddq_s32(vldrwq_s32(sums), start);
      int32x4_t high = vaddq_s32(vldrwq_s32(sums + ROWS), start);
      vstrbq_scatter_offset_p_s16(to, pairs_at, packed(low, high, factor, &l), both);
    }
    if (!n) return;
  }
  const finish f = finish_of(&a->q);
  const uint32x4_t y_at = vmulq_n_u32(at, a->residual_pitch);
  const int8_t *y = a->residual ? a->residual + (size_t)row * a->residual_pitch + p : 0;
  for (; n; n--, to++, sums += ROWS) {
    int32x4_t sum = vaddq_s32(vldrwq_s32(sums), start), made;
    if (y) made = rounded_with(sum, factor, vldrbq_gather_offset_z_s32(y++, y_at, some), &f);
    else made = rounded(sum, factor, &f);
    vstrbq_scatter_offset_p_s32(to, to_at, made, some);
  }
}

static void clear(int32_t *sums, uint32_t n) {
  for (; n; n--, sums += ROWS) vstrwq_s32(sums, vdupq_n_s32(0));
}

/* A tile of n positions from p on. */
static void run_tile(const fil_qspmm_args *a, const bundle *b, size_t p, uint32_t n) {
  room m;
  columns c = b->columns;
  c.x += p, c.first += p;
  if (!b->blocks) clear(m.sums, b->passes * b->tile);
  for (uint32_t i = 0; i < b->blocks; i += COLUMNS) {
    fill_words(&m, &c, b->blocks - i, n, (fil_coding)a->w.coding);
    multiply_rows(&m, b, i, n);
  }
  for (uint32_t k = 0; k < b->passes; k++) {
    uint32_t left = a->w.rows - b->row[k];
    store_rows(a, m.sums + k * b->tile * ROWS, b->row[k], p, n, left < b->rows ? left : b->rows);
  }
}

/* Passes of a bundle over n positions: few for many, so that their sums fit. */
static uint32_t most_passes(uint32_t n) { return n <= T / 4 ? 4 : n <= T / 2 || n > T ? 2 : 1; }

static int next_bundle(const fil_qspmm_args *a, place *at, bundle *b) {
  const fil_matrix *w = &a->w;
  const int dense = w->coding == FIL_CODING_NONE;
  const uint32_t O = w->block_rows, most = dense ? most_passes(a->positions) : PASSES;
  b->columns = (columns){at->index, a->x, dense ? a->x - a->x_pitch : a->x, a->x_pitch};
  b->step = O * FIL_QUAD;
  b->rows = O < ROWS ? O : ROWS;
  b->passes = 0;
  while (b->passes < most && at->group < w->groups) {
    b->blocks = dense ? w->cols : w->count[at->group];
    b->row[b->passes] = at->group * O + at->row;
    b->w[b->passes++] = at->quads + (size_t)at->row * FIL_QUAD;
    at->row += ROWS;
    if (at->row < O && at->group * O + at->row < w->rows) continue;
    at->quads += (size_t)fil_quads(b->blocks) * O * FIL_QUAD;
    if (!dense) at->index += (size_t)b->blocks * w->coding;
    at->row = 0, at->group++;
    if (!dense) break;
  }
  b->tile = b->passes == 1 ? T : b->passes == 2 ? T / 2 : T / 4;
  return b->passes > 0;
}

void fil_qspmm_helium(const fil_qspmm_args *a) {
  place at = {.quads = a->w.quads, .index = a->w.index};
  for (bundle b; next_bundle(a, &at, &b);)
    for (uint32_t p = 0; p < a->positions; p += b.tile)
      run_tile(a, &b, p, a->positions - p < b.tile ? a->positions - p : b.tile);
}
