/* qspmm on Helium, whose one fast product of bytes adds up all sixteen of a vector: lanes run over
 * columns. Four columns at a time are interleaved into words, a word for each position; a vector is
 * the words of sixteen columns at one position, and is multiplied by those weights of each row. */
#include "simd/q8_helium.h"

enum {
  T = 64,        /* positions of a tile, the most */
  QUADS = 4,     /* whose words make a vector */
  COLUMNS = 16,
  ROWS = 4,      /* of a pass: their weights stay in registers */
  PASSES = 4     /* over one panel, the most */
};

/* Rows that share their columns: of one group or, if all columns are stored, of neighbours too.
 * w[i]: weights of pass i from row[i] on, quads `step` bytes apart. */
typedef struct bundle {
  columns columns;
  const int8_t *w[PASSES];
  uint32_t row[PASSES];
  uint32_t passes, step, blocks;
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

/* Positions of a tile, so that the passes' sums fit. */
static uint32_t room_of(const bundle *b) {
  return b->passes == 1 ? T : b->passes == 2 ? T / 2 : T / PASSES;
}

/* n positions from p on of one quad. */
FIL_INLINE void interleave(const int8_t *const x[FIL_QUAD], size_t p, int32_t *words, int32_t n) {
  const int8_t *a = x[0] + p, *b = x[1] + p, *c = x[2] + p, *d = x[3] + p;
  for (; n > 0; n -= 16, words += 16, a += 16, b += 16, c += 16, d += 16) {
    mve_pred16_t some = vctp8q((uint32_t)n);
    int8x16x4_t v = {{vldrbq_z_s8(a, some), vldrbq_z_s8(b, some), vldrbq_z_s8(c, some),
                      vldrbq_z_s8(d, some)}};
    vst4q_s8((int8_t *)words, v);
  }
}

/* The next sixteen columns of `left`. */
FIL_INLINE void fill(room *m, columns *c, uint32_t left, size_t p, uint32_t n,
                     const fil_coding coding) {
  for (uint32_t k = 0; k < QUADS && k * FIL_QUAD < left; k++) {
    const int8_t *x[FIL_QUAD];
    next_quad(c, left - k * FIL_QUAD, coding, x);
    interleave(x, p, m->words[k], (int32_t)n);
  }
}

static void fill_words(room *m, columns *c, uint32_t left, size_t p, uint32_t n,
                       fil_coding coding) {
  switch (coding) {
  case FIL_CODING_NONE: fill(m, c, left, p, n, FIL_CODING_NONE); break;
  case FIL_CODING_D8: fill(m, c, left, p, n, FIL_CODING_D8); break;
  default: fill(m, c, left, p, n, FIL_CODING_U16); break;
  }
}

/* sums[r] += weights[r] . x at n positions, four rows; x_at: of words before the first
 * ones. By hand, as
 * compilers take thirteen instructions for these ten. */
#define LOOP(load, multiply)                                                                       \
  __asm__ volatile("wls lr, %[n], 2f\n1:\n" load                                                   \
                   "vldrw.u32 q7, [%q[x], #4]!\n" multiply "strd %[s2], %[s3], [%[sums], #8]\n"       \
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
  else LOOP("ldrd %[s0], %[s1], [%[sums]]\n ldrd %[s2], %[s3], [%[sums], #8]\n", EACH_ROW("vmladava.s8"));
}

/* Sixteen columns of R rows, `quads` quads of them stored, at n positions. `first`: sums begin. */
FIL_INLINE void multiply(room *m, int32_t *sums, const int8_t *w, uint32_t step, uint32_t quads,
                         uint32_t n, const uint32_t R, const int first) {
  const uint32x4_t at = vidupq_n_u32(0, 1), weights_at = vmulq_n_u32(at, step);
  const mve_pred16_t some = vctp32q(quads);
  int8x16_t weights[ROWS];
  FIL_UNROLL(r, R)
    weights[r] = vreinterpretq_s8_s32(vldrwq_gather_offset_z_s32(
        (const int32_t *)(const void *)(w + r * FIL_QUAD), weights_at, some));
  uint32x4_t x_at = vmulq_n_u32(at, sizeof m->words[0]);
  if (R == ROWS) {
    multiply_four(sums, weights, vaddq_n_u32(x_at, (uint32_t)(uintptr_t)m->words - 4), n, first);
    return;
  }
  for (const int32_t *words = m->words[0]; n; n--, words++, sums += ROWS) {
    int8x16_t x = vreinterpretq_s8_s32(vldrwq_gather_offset_s32(words, x_at));
    FIL_UNROLL(r, R)
      sums[r] = first ? vmladavq_s8(weights[r], x) : vmladavaq_s8(sums[r], weights[r], x);
  }
}

#define EACH_FIRST(call, R) \
  if (first) call(R, 1); \
  else call(R, 0)

static void multiply_rows(room *m, int32_t *sums, const int8_t *w, uint32_t step, uint32_t quads,
                          uint32_t n, uint32_t rows, int first) {
#define CALL(R, first) multiply(m, sums, w, step, quads, n, R, first)
  if (rows == 1) {
    EACH_FIRST(CALL, 1);
  } else if (rows == 2) {
    EACH_FIRST(CALL, 2);
  } else {
    EACH_FIRST(CALL, 4);
  }
#undef CALL
}

/* n positions of a pass's rows from `row` on, as many as exist. */
static void store_rows(const fil_qspmm_args *a, const int32_t *sums, uint32_t row, size_t p,
                       uint32_t n, uint32_t rows) {
  const mve_pred16_t some = vctp32q(rows);
  const finish f = finish_of(&a->q);
  const uint32x4_t at = vidupq_n_u32(0, 1), to_at = vmulq_n_u32(at, a->out_pitch);
  const int32x4_t start = vldrwq_z_s32(a->w.sums + row, some);
  const float32x4_t factor = vldrwq_z_f32(a->w.multipliers + row, some);
  int8_t *to = a->out + (size_t)row * a->out_pitch + p;
  if (!a->residual) {
    for (; n; n--, to++, sums += ROWS) {
      int32x4_t sum = vaddq_s32(vldrwq_s32(sums), start);
      vstrbq_scatter_offset_p_s32(to, to_at, rounded(sum, factor, &f), some);
    }
    return;
  }
  const uint32x4_t y_at = vmulq_n_u32(at, a->residual_pitch);
  const int8_t *y = a->residual + (size_t)row * a->residual_pitch + p;
  for (; n; n--, to++, y++, sums += ROWS) {
    int32x4_t sum = vaddq_s32(vldrwq_s32(sums), start);
    int32x4_t more = vldrbq_gather_offset_z_s32(y, y_at, some);
    vstrbq_scatter_offset_p_s32(to, to_at, rounded_with(sum, factor, more, &f), some);
  }
}

/* A tile of n positions. */
static void run_tile(const fil_qspmm_args *a, const bundle *b, size_t p, uint32_t n) {
  room m;
  const uint32_t O = a->w.block_rows, rows = O < ROWS ? O : ROWS, share = room_of(b) * ROWS;
  columns c = b->columns;
  if (!b->blocks) __builtin_memset(m.sums, 0, sizeof m.sums);
  for (uint32_t i = 0; i < b->blocks; i += COLUMNS) {
    uint32_t quads = fil_quads(b->blocks - i);
    fill_words(&m, &c, b->blocks - i, p, n, (fil_coding)a->w.coding);
    for (uint32_t k = 0; k < b->passes; k++)
      multiply_rows(&m, m.sums + k * share, b->w[k] + (size_t)i * O, b->step, quads, n, rows, !i);
  }
  for (uint32_t k = 0; k < b->passes; k++) {
    uint32_t left = a->w.rows - b->row[k];
    store_rows(a, m.sums + k * share, b->row[k], p, n, left < rows ? left : rows);
  }
}

static int next_bundle(const fil_qspmm_args *a, place *at, bundle *b) {
  const fil_matrix *w = &a->w;
  const int dense = w->coding == FIL_CODING_NONE;
  const uint32_t O = w->block_rows;
  b->columns = (columns){at->index, a->x, dense ? a->x - a->x_pitch : a->x, a->x_pitch};
  b->step = O * FIL_QUAD;
  b->passes = 0;
  while (b->passes < PASSES && at->group < w->groups) {
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
  return b->passes > 0;
}

void fil_qspmm_helium(const fil_qspmm_args *a) {
  place at = {.quads = a->w.quads, .index = a->w.index};
  for (bundle b; next_bundle(a, &at, &b);)
    for (uint32_t p = 0, n = room_of(&b); p < a->positions; p += n)
      run_tile(a, &b, p, a->positions - p < n ? a->positions - p : n);
}
