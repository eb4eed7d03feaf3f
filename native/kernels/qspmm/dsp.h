/* qspmm on Cortex-M: four rows by four positions, columns in pairs. What a group's weights and
 * columns come to is worked out once for up to SPAN positions; for each four of them the planes are
 * then interleaved, and two rows at a time multiplied. */
#include "simd/dsp_finish.h"

enum {
  PAIRS = 26, /* of columns, at a time */
  ROWS = 4,
  TILE = 4,
  SPAN = 72,  /* positions whose sums are kept */
  DENSE = 256 /* columns, the most whose inputs are kept */
};

/* Two columns: at four positions their inputs, as 16 bits each; the weights of four rows; where
 * the planes lie. */
typedef struct pair {
  uint32_t x[TILE], w[ROWS];
  int32_t at[2];
} pair;

typedef struct tile {
  int32_t sum[ROWS][TILE];
} tile;

/* Tiles side by side: their inputs from x on; sums, which start as those before, `step` bytes from
 * tile to tile. */
typedef struct stretch {
  pair *from;
  const pair *to;
  const int8_t *x;
  const tile *before;
  size_t step;
  tile *sums;
  uint32_t tiles;
} stretch;

FIL_INLINE void interleave(uint32_t to[TILE], const int8_t *x, const int8_t *y) {
  uint32_t a = dsp_word(x), b = dsp_word(y), low = dsp_low(a, b), high = dsp_high(a, b);
  to[0] = dsp_even(low), to[1] = dsp_odd(low), to[2] = dsp_even(high), to[3] = dsp_odd(high);
}

#if FIL_HAS_DSP
/* For the pairs r0 up to r1, two in turn, of which an odd number begins with the second. */
#define EACH_PAIR(body)                                                                            \
  "subs r11, r1, r0\n lsls r11, r11, #28\n bmi 2f\n1: " body "2: " body "cmp r0, r1\n bne 1b\n"
#define GATHER                                                                                     \
  "ldrd r4, r5, [r0, #32]\n ldr r4, [r2, r4]\n ldr r5, [r2, r5]\n"                                 \
  "pkhbt r6, r4, r5, lsl #16\n pkhtb r5, r5, r4, asr #16\n"                                        \
  "sxtb16 r8, r6\n sxtb16 r9, r6, ror #8\n sxtb16 r10, r5\n sxtb16 r11, r5, ror #8\n"              \
  "strd r10, r11, [r0, #8]\n strd r8, r9, [r0], #40\n"
/* Two rows: 8 sums, 2 words of inputs, 2 of weights, pointer and end are all registers. */
#define TWO_ROWS(weights)                                                                          \
  "ldrd r12, lr, [r0, #" weights "]\n ldrd r2, r11, [r0, #8]\n"                                    \
  "smlad r5, r2, r12, r5\n smlad r6, r11, r12, r6\n smlad r9, r2, lr, r9\n"                        \
  "smlad r10, r11, lr, r10\n ldrd r2, r11, [r0], #40\n"                                            \
  "smlad r3, r2, r12, r3\n smlad r4, r11, r12, r4\n smlad r7, r2, lr, r7\n"                        \
  "smlad r8, r11, lr, r8\n"
#define ALL_PAIRS(weights, first)                                                                  \
  "ldr r0, [sp]\n ldr r2, [r0, #12]\n ldr r0, [r0]\n" first                                        \
  "ldm r2, {r3-r10}\n" EACH_PAIR(TWO_ROWS(                                                         \
      weights)) "ldr r0, [sp]\n ldr r2, [r0, #20]\n stm r2!, {r3-r10}\n str r2, [r0, #20]\n"
#define ALL_TILES(rows, skip)                                                                      \
  __asm__("push {r0, r4-r11, lr}\n3: ldm r0, {r0-r2}\n" EACH_PAIR(GATHER) rows                     \
          "ldr r1, [r0, #8]\n adds r1, #4\n str r1, [r0, #8]\n"                                    \
          "ldrd r1, r2, [r0, #12]\n add r1, r2\n str r1, [r0, #12]\n" skip                         \
          "ldr r1, [r0, #24]\n subs r1, #1\n str r1, [r0, #24]\n bne 3b\n pop {r0, r4-r11, pc}")

__attribute__((naked, noinline)) static void two_rows(stretch *s) {
  ALL_TILES(ALL_PAIRS("16", ""), "ldr r1, [r0, #20]\n adds r1, #32\n str r1, [r0, #20]\n");
}

__attribute__((naked, noinline)) static void four_rows(stretch *s) {
  ALL_TILES(ALL_PAIRS("16", "") ALL_PAIRS("24", "adds r2, #32\n"), "");
}
#else
static void sum_rows(const stretch *s, uint32_t R) {
  const tile *before = s->before;
  for (uint32_t i = 0; i < s->tiles; i++, before += s->step / sizeof *before) {
    tile *sums = &s->sums[i];
    *sums = *before;
    for (pair *p = s->from; p < s->to; p++) {
      interleave(p->x, s->x + i * TILE + p->at[0], s->x + i * TILE + p->at[1]);
      for (uint32_t k = 0; k < R * TILE; k++) {
        int32_t *sum = &sums->sum[k / TILE][k % TILE];
        *sum = dsp_mac(*sum, p->x[k % TILE], p->w[k / TILE]);
      }
    }
  }
}
static void two_rows(stretch *s) { sum_rows(s, 2); }
static void four_rows(stretch *s) { sum_rows(s, 4); }
#endif

/* A pass over up to four rows of a group, from its row `first` on. */
typedef struct pass {
  const fil_qspmm_args *a;
  const group *g;
  uint32_t first, rows; /* rows: of the pattern; the last ones may not be there */
  pair pairs[PAIRS];
  tile start, tiles[SPAN / TILE];
} pass;

FIL_INLINE void widen(pair p[2], const int8_t *w, size_t r) {
  uint32_t four = dsp_word(w + r * FIL_QUAD);
  p[0].w[r] = dsp_even(four), p[1].w[r] = dsp_odd(four);
}

/* The next n columns: pairs of the first and third, second and fourth of a quad, as bytes widen.
 * Returns the end of them. */
static pair *prepare(pass *s, columns *c, const int8_t *w, uint32_t n) {
  const fil_coding coding = (fil_coding)s->a->w.coding;
  pair *p = s->pairs;
  for (uint32_t i = 0; i < n; i += FIL_QUAD, w += s->a->w.block_rows * FIL_QUAD, p += 2) {
    const int8_t *x[FIL_QUAD];
    next_quad(c, n - i, coding, x);
    p[0].at[0] = (int32_t)(x[0] - s->a->x), p[0].at[1] = (int32_t)(x[2] - s->a->x);
    p[1].at[0] = (int32_t)(x[1] - s->a->x), p[1].at[1] = (int32_t)(x[3] - s->a->x);
    if (s->rows == ROWS)
      FIL_UNROLL(r, ROWS) widen(p, w, r);
    else
      for (uint32_t r = 0; r < s->rows; r++) widen(p, w, r);
    if (n - i > 2) continue;
    if (n - i == 2) {
      p[0].at[1] = p[1].at[0];
      for (uint32_t r = 0; r < s->rows; r++) p[0].w[r] = dsp_low(p[0].w[r], p[1].w[r]);
    }
    p--;
  }
  return p;
}

static void finish_rows(const pass *s, size_t p, uint32_t n) {
  const fil_qspmm_args *a = s->a;
  finish f = finish_of(&a->q);
  uint32_t whole = n / TILE;
  for (uint32_t r = 0; r < s->rows; r++) {
    size_t row = s->g->row + s->first + r, last = p + n - TILE;
    if (row >= a->w.rows) return;
    int8_t *out = a->out + row * a->out_pitch;
    const int8_t *y = a->residual ? a->residual + row * a->residual_pitch : 0;
    const float *factor = &a->w.multipliers[row];
    finish_fours(&f, factor, s->tiles->sum[r], ROWS * TILE, y ? y + p : 0, out + p, whole);
    if (n % TILE)
      finish_fours(&f, factor, s->tiles[whole].sum[r], 0, y ? y + last : 0, out + last, 1);
  }
}

static void sum_tiles(const pass *s, stretch k, uint32_t tiles) {
  k.tiles = tiles;
  if (!tiles) return;
  if (k.from == k.to)
    for (uint32_t t = 0; t < tiles; t++) k.sums[t] = k.before[k.step ? t : 0];
  else if (s->rows > 2) four_rows(&k);
  else two_rows(&k);
}

/* n positions from p on; the last tile lies over the one before if they are no whole tiles. */
static void run_span(pass *s, size_t p, uint32_t n) {
  const fil_qspmm_args *a = s->a;
  columns c = columns_of(a, s->g);
  const int8_t *w = s->g->quads + s->first * FIL_QUAD;
  uint32_t whole = n / TILE, i = 0;
  stretch k = {.from = s->pairs, .x = a->x + p, .before = &s->start, .sums = s->tiles};
  do {
    uint32_t some = s->g->blocks - i < 2 * PAIRS ? s->g->blocks - i : 2 * PAIRS;
    stretch last = k;
    last.to = k.to = prepare(s, &c, w + (size_t)i * a->w.block_rows, some);
    sum_tiles(s, k, whole);
    last.x += (int32_t)n - TILE, last.sums += whole;
    if (k.step) last.before = last.sums;
    sum_tiles(s, last, n % TILE != 0);
    k.before = s->tiles, k.step = sizeof(tile);
    i += some;
  } while (i < s->g->blocks);
  finish_rows(s, p, n);
}

/* Rows of a group from its row `first` on. */
static void run_pass(pass *s, uint32_t first) {
  const group *g = s->g;
  s->first = first;
  for (uint32_t r = 0; r < s->rows; r++)
    for (uint32_t t = 0; t < TILE; t++) s->start.sum[r][t] = g->start[first + r];
  for (uint32_t p = 0, n; p < s->a->positions; p += n) {
    n = s->a->positions - p < SPAN ? s->a->positions - p : SPAN;
    run_span(s, p, n);
  }
}

/* Dense weights: the planes of four positions are interleaved once for all groups, and weights
 * widened as they are met. */
typedef struct dense {
  uint32_t x[DENSE / FIL_QUAD][2][TILE]; /* of a quad: the first and third column, the others */
  tile tile;
} dense;

#if FIL_HAS_DSP
/* Two rows of groups of `step` / 4: as TWO_ROWS, weights at r1, the end of the inputs in memory. */
#define TWO_OF_DENSE(at, step)                                                                     \
  "ldrd r3, r7, [r3, #" at "]\n mov r4, r3\n mov r5, r3\n mov r6, r3\n"                            \
  "mov r8, r7\n mov r9, r7\n mov r10, r7\n"                                                        \
  "1: ldrd r12, lr, [r1]\n sxtb16 r12, r12\n sxtb16 lr, lr\n ldrd r2, r11, [r0]\n"                 \
  "smlad r3, r2, r12, r3\n smlad r4, r11, r12, r4\n smlad r7, r2, lr, r7\n"                        \
  "smlad r8, r11, lr, r8\n ldrd r2, r11, [r0, #8]\n"                                               \
  "smlad r5, r2, r12, r5\n smlad r6, r11, r12, r6\n smlad r9, r2, lr, r9\n"                        \
  "smlad r10, r11, lr, r10\n"                                                                      \
  "ldrd r12, lr, [r1], #" step "\n sxtb16 r12, r12, ror #8\n sxtb16 lr, lr, ror #8\n"              \
  "ldrd r2, r11, [r0, #16]\n"                                                                      \
  "smlad r3, r2, r12, r3\n smlad r4, r11, r12, r4\n smlad r7, r2, lr, r7\n"                        \
  "smlad r8, r11, lr, r8\n ldrd r2, r11, [r0, #24]\n"                                              \
  "smlad r5, r2, r12, r5\n smlad r6, r11, r12, r6\n smlad r9, r2, lr, r9\n"                        \
  "smlad r10, r11, lr, r10\n adds r0, #32\n ldr r2, [sp, #8]\n cmp r0, r2\n bne 1b\n"
#define FOUR_OF_DENSE(step)                                                                        \
  __asm__("push {r0-r11, lr}\n" TWO_OF_DENSE(                                                      \
      "0", step) "ldr r2, [sp, #52]\n stm r2, {r3-r10}\n"                                          \
                 "ldrd r0, r1, [sp]\n adds r1, #8\n ldr r3, [sp, #12]\n" TWO_OF_DENSE(             \
                     "8", step) "ldr r2, [sp, #52]\n adds r2, #32\n stm r2, {r3-r10}\n"            \
                                "add sp, #16\n pop {r4-r11, pc}")

__attribute__((naked, noinline)) static void
four_of_4(const uint32_t *x, const int8_t *w, const uint32_t *end, const int32_t *start, tile *to) {
  FOUR_OF_DENSE("16");
}

__attribute__((naked, noinline)) static void
four_of_8(const uint32_t *x, const int8_t *w, const uint32_t *end, const int32_t *start, tile *to) {
  FOUR_OF_DENSE("32");
}
#else
static void four_by(const uint32_t *x, const int8_t *w, const uint32_t *end, const int32_t *start,
                    tile *to, uint32_t O) {
  for (uint32_t i = 0; i < ROWS * TILE; i++) to->sum[i / TILE][i % TILE] = start[i / TILE];
  for (; x < end; x += 2 * TILE, w += O * FIL_QUAD)
    for (uint32_t i = 0; i < ROWS * TILE; i++) {
      uint32_t four = dsp_word(w + i / TILE * FIL_QUAD), t = i % TILE;
      int32_t *sum = &to->sum[i / TILE][t];
      *sum = dsp_mac(dsp_mac(*sum, x[t], dsp_even(four)), x[TILE + t], dsp_odd(four));
    }
}
static void four_of_4(const uint32_t *x, const int8_t *w, const uint32_t *end, const int32_t *start,
                      tile *to) {
  four_by(x, w, end, start, to, 4);
}
static void four_of_8(const uint32_t *x, const int8_t *w, const uint32_t *end, const int32_t *start,
                      tile *to) {
  four_by(x, w, end, start, to, 8);
}
#endif

/* Columns past the last are the last, their weights 0. */
static void gather_all(dense *d, const fil_qspmm_args *a, size_t p) {
  const int8_t *x = a->x + p;
  size_t pitch = a->x_pitch;
  uint32_t i = 0, cols = a->w.cols;
  for (; i + FIL_QUAD <= cols; i += FIL_QUAD, x += FIL_QUAD * pitch) {
    interleave(d->x[i / FIL_QUAD][0], x, x + 2 * pitch);
    interleave(d->x[i / FIL_QUAD][1], x + pitch, x + 3 * pitch);
  }
  if (i == cols) return;
  uint32_t last = cols - i - 1;
  interleave(d->x[i / FIL_QUAD][0], x, x + (last < 2 ? last : 2) * pitch);
  interleave(d->x[i / FIL_QUAD][1], x + (last < 1 ? last : 1) * pitch, x + last * pitch);
}

static void run_dense(const fil_qspmm_args *a) {
  dense d;
  const fil_matrix *w = &a->w;
  const finish f = finish_of(&a->q);
  uint32_t O = w->block_rows, quads = fil_quads(w->cols), n = a->positions;
  const uint32_t *x = d.x[0][0], *end = d.x[quads][0];
  for (uint32_t t = 0; t * TILE < n; t++) {
    size_t p = (t + 1) * TILE <= n ? t * TILE : n - TILE;
    gather_all(&d, a, p);
    for (uint32_t row = 0; row < w->rows; row += ROWS) {
      const int8_t *at = w->quads + (size_t)(row / O * O * quads + row % O) * FIL_QUAD;
      uint32_t rows = w->rows - row < ROWS ? w->rows - row : ROWS;
      int8_t *out = a->out + (size_t)row * a->out_pitch + p;
      if (O == 4) four_of_4(x, at, end, w->sums + row, &d.tile);
      else four_of_8(x, at, end, w->sums + row, &d.tile);
      if (!a->residual) {
        finish_column(&f, w->multipliers + row, d.tile.sum[0], out, a->out_pitch, rows);
        continue;
      }
      const int8_t *y = a->residual + (size_t)row * a->residual_pitch + p;
      for (uint32_t r = 0; r < rows; r++)
        finish_fours(&f, w->multipliers + row + r, d.tile.sum[r], 0, y + r * a->residual_pitch,
                     out + r * a->out_pitch, 1);
    }
  }
}

static void run_groups(const fil_qspmm_args *a) {
  uint32_t O = a->w.block_rows;
  group g = first_group(&a->w);
  pass s;
  s.a = a, s.g = &g, s.rows = O < ROWS ? O : ROWS;
  for (uint32_t r = 0; r < 2; r++)
    for (uint32_t t = 0; t < TILE; t++) s.start.sum[r][t] = 0;
  for (uint32_t i = 0; i < PAIRS; i++)
    s.pairs[i].w[1] = 0; /* of the row that a pattern of one lacks */
  for (uint32_t i = 0; i < a->w.groups; i++) {
    enter_group(&a->w, &g, i);
    for (uint32_t r = 0; r < O && g.row + r < a->w.rows; r += ROWS) run_pass(&s, r);
    leave_group(&a->w, &g);
  }
}

void fil_qspmm_scalar(const fil_qspmm_args *a);

void fil_qspmm_dsp(const fil_qspmm_args *a) {
  const fil_matrix *w = &a->w;
  if (a->positions < TILE) fil_qspmm_scalar(a);
  else if (w->coding == FIL_CODING_NONE && (w->block_rows == 4 || w->block_rows == 8) &&
           w->cols <= DENSE)
    run_dense(a);
  else run_groups(a);
}
