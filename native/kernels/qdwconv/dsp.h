/* qdwconv on Cortex-M. Two input rows lie interleaved in scratch, column by column a word of twice
 * 16 bits, so that one multiplication takes a tap of both; around them lies the input's zero,
 * written once. An output row goes through the pairs of rows that it reads, four columns at a time.
 * Sums lie one row behind the other: what a row's last four have too much, the next row overwrites.
 */
#include "simd/dsp_finish.h"

enum { MOST_WORDS = 32, ROOM = 256, TILE = 4 };

/* What a row of outputs multiplies its pairs of rows by: a word for each tap of both, and in the
 * middle the start of its sums. Outputs whose first row is the second of a pair have weights of
 * their own. */
typedef struct taps {
  uint32_t w[MOST_WORDS];
  uint32_t deep; /* pairs */
} taps;

typedef struct plane {
  const fil_qdwconv_args *a;
  uint32_t *rows;
  uint32_t pitch, held; /* words of a pair of rows; how many scratch holds */
  uint32_t most, tiles; /* rows whose sums have room; fours of columns */
  uint32_t row, inside; /* inside: columns of the input that are read */
  const int8_t *x;
  int8_t outside[4];
  taps taps[2];
  int32_t sums[ROOM];
} plane;

FIL_INLINE uint32_t pair_of(int8_t a, int8_t b) { return dsp_low((uint32_t)a, (uint32_t)b); }

/* An input row, or a byte outside, on which every step stays. */
typedef struct line {
  const int8_t *x;
  uint32_t step;
} line;

FIL_INLINE line line_of(const plane *b, uint32_t y) {
  const fil_qdwconv_args *a = b->a;
  if (y >= a->g->in_h) return (line){b->outside, 0};
  if (y >= a->ring) y %= a->ring;
  return (line){b->x + (size_t)y * a->g->in_w, 1};
}

FIL_INLINE void four_columns(uint32_t to[4], const int8_t *u, const int8_t *v) {
  uint32_t p = dsp_word(u), q = dsp_word(v), low = dsp_low(p, q), high = dsp_high(p, q);
  to[0] = dsp_even(low), to[1] = dsp_odd(low), to[2] = dsp_even(high), to[3] = dsp_odd(high);
}

/* Rows y and y + 1 of the input, from column pad_left on; the last four columns may come twice. */
static __attribute__((noinline)) void fill_pair(const plane *b, uint32_t *to, uint32_t y) {
  uint32_t n = b->inside, i = 4;
  line u = line_of(b, y), v = line_of(b, y + 1);
  to += b->a->g->pad_left;
  if (n < 4) {
    for (i = 0; i < n; i++, u.x += u.step, v.x += v.step) to[i] = pair_of(*u.x, *v.x);
    return;
  }
  const int8_t *p = u.x, *q = v.x;
  for (; i <= n; i += 4, p += 4 * u.step, q += 4 * v.step, to += 4) four_columns(to, p, q);
  i = n % 4;
  if (i) four_columns(to + i - 4, u.x + (n - 4) * u.step, v.x + (n - 4) * v.step);
}

/* `tiles` times four sums of a 3x3 kernel, of columns from x on and below; w points behind the
 * first pair's weights, which are behind the start: r5 to r7, of each row; sums r4, r8 to r10. */
#if FIL_HAS_DSP
#define COLUMNS_BY_1(x, start_1, start_2, start_3)                                                 \
  "ldrd r11, r12, [" x ", #16]\n"                                                                  \
  "smlad r10, r12, r7, " start_3 "\n smlad r10, r11, r6, r10\n smlad r9, r11, r7, " start_2 "\n"   \
  "ldrd r11, r12, [" x ", #8]\n"                                                                   \
  "smlad r10, r12, r5, r10\n smlad r9, r12, r6, r9\n smlad r8, r12, r7, " start_1 "\n"             \
  "smlad r9, r11, r5, r9\n smlad r8, r11, r6, r8\n smlad r4, r11, r7, r4\n"                        \
  "ldrd r11, r12, [" x "], #16\n"                                                                  \
  "smlad r8, r12, r5, r8\n smlad r4, r12, r6, r4\n smlad r4, r11, r5, r4\n"
#define COLUMNS_BY_2(x, start_1, start_2, start_3)                                                 \
  "ldr r11, [" x ", #32]\n smlad r10, r11, r7, " start_3 "\n"                                      \
  "ldrd r11, r12, [" x ", #24]\n smlad r10, r12, r6, r10\n smlad r10, r11, r5, r10\n"              \
  "smlad r9, r11, r7, " start_2 "\n"                                                               \
  "ldrd r11, r12, [" x ", #16]\n smlad r9, r12, r6, r9\n smlad r9, r11, r5, r9\n"                  \
  "smlad r8, r11, r7, " start_1 "\n"                                                               \
  "ldrd r11, r12, [" x ", #8]\n smlad r8, r12, r6, r8\n smlad r8, r11, r5, r8\n"                   \
  "smlad r4, r11, r7, r4\n"                                                                        \
  "ldrd r11, r12, [" x "], #32\n smlad r4, r12, r6, r4\n smlad r4, r11, r5, r4\n"
#define NINE_TAPS(columns)                                                                         \
  __asm__("push {r4-r11, lr}\n ldr lr, [sp, #36]\n"                                                \
          "1: ldmdb r1, {r4-r7}\n" columns("r0", "r4", "r4", "r4") "ldm r1, {r5-r7}\n" columns(    \
              "r2", "r8", "r9", "r10") "stm r3!, {r4, r8-r10}\n subs lr, #1\n bne 1b\n"            \
                                       "pop {r4-r11, pc}")

__attribute__((naked, noinline)) static void nine_taps_by_1(const uint32_t *x, const uint32_t *w,
                                                            const uint32_t *below, int32_t *to,
                                                            uint32_t tiles) {
  NINE_TAPS(COLUMNS_BY_1);
}

__attribute__((naked, noinline)) static void nine_taps_by_2(const uint32_t *x, const uint32_t *w,
                                                            const uint32_t *below, int32_t *to,
                                                            uint32_t tiles) {
  NINE_TAPS(COLUMNS_BY_2);
}
#else
static void nine_taps(const uint32_t *x, const uint32_t *w, const uint32_t *below, int32_t *to,
                      uint32_t tiles, uint32_t step) {
  for (uint32_t i = 0; i < TILE * tiles; i++, x += step, below += step) {
    to[i] = (int32_t)w[-4];
    for (uint32_t k = 0; k < 3; k++)
      to[i] = dsp_mac(dsp_mac(to[i], x[k], w[(int)k - 3]), below[k], w[k]);
  }
}
static void nine_taps_by_1(const uint32_t *x, const uint32_t *w, const uint32_t *below, int32_t *to,
                           uint32_t tiles) {
  nine_taps(x, w, below, to, tiles, 1);
}
static void nine_taps_by_2(const uint32_t *x, const uint32_t *w, const uint32_t *below, int32_t *to,
                           uint32_t tiles) {
  nine_taps(x, w, below, to, tiles, 2);
}
#endif

static void any_taps(const plane *b, const uint32_t *x, const taps *t, int32_t *to) {
  const fil_conv *g = b->a->g;
  for (uint32_t p = 0; p < g->out_w; p += TILE, x += TILE * g->sw) {
    int32_t sum[TILE];
    const uint32_t *w = t->w + 1, *from = x;
    FIL_UNROLL(i, TILE) sum[i] = (int32_t)t->w[0];
    for (uint32_t j = 0; j < t->deep; j++, from += b->pitch)
      for (uint32_t k = 0; k < g->kw; k++, w++)
        FIL_UNROLL(i, TILE) sum[i] = dsp_mac(sum[i], from[k + i * g->sw], *w);
    FIL_UNROLL(i, TILE) *to++ = sum[i];
  }
}

static void sum_row(const plane *b, const uint32_t *x, const taps *t, int32_t *to) {
  const fil_conv *g = b->a->g;
  if (g->kw != 3 || t->deep != 2 || g->sw > 2) any_taps(b, x, t, to);
  else if (g->sw == 1) nine_taps_by_1(x, t->w + 4, x + b->pitch, to, b->tiles);
  else nine_taps_by_2(x, t->w + 4, x + b->pitch, to, b->tiles);
}

/* The first kernel row goes with the row `late` of the first pair. */
static void spread_taps(plane *b, const int8_t *w, uint32_t late) {
  const fil_conv *g = b->a->g;
  taps *t = &b->taps[late];
  uint32_t *to = t->w;
  *to++ = (uint32_t)b->a->w.sums[b->row];
  for (uint32_t j = 0; j < t->deep; j++)
    for (uint32_t k = 0; k < g->kw; k++) {
      uint32_t y = 2 * j - late; /* wraps above the kernel */
      int8_t first = y < g->kh ? w[y * g->kw + k] : 0;
      *to++ = pair_of(first, y + 1 < g->kh ? w[(y + 1) * g->kw + k] : 0);
    }
}

/* The same of 3x3 kernels. */
FIL_INLINE void spread_nine(plane *b, const int8_t *w) {
  uint32_t *early = b->taps[0].w, *late = b->taps[1].w;
  early[0] = late[0] = (uint32_t)b->a->w.sums[b->row];
  FIL_UNROLL(k, 3) {
    early[1 + k] = pair_of(w[k], w[3 + k]), early[4 + k] = (uint16_t)w[6 + k];
    late[1 + k] = (uint32_t)w[k] << 16, late[4 + k] = pair_of(w[3 + k], w[6 + k]);
  }
}

static void enter_plane(plane *b, uint32_t r) {
  const fil_conv *g = b->a->g;
  const int8_t *w = b->a->w.quads + (size_t)r * fil_quads((uint32_t)g->kh * g->kw) * FIL_QUAD;
  b->row = r, b->x = b->a->x + (size_t)r * b->a->x_pitch;
  if (g->kh == 3 && g->kw == 3) {
    spread_nine(b, w);
    return;
  }
  spread_taps(b, w, 0);
  if (g->sh % 2) spread_taps(b, w, 1);
}

/* The sums of `outs` rows, from row `done` of those asked for on, as results. */
static void finish_rows(const plane *b, uint32_t done, uint32_t outs, const finish *f) {
  const fil_qdwconv_args *a = b->a;
  const float *factor = &a->w.multipliers[b->row];
  size_t at = (size_t)done * a->g->out_w;
  uint32_t n = outs * a->g->out_w, last = n - TILE;
  int8_t *out = a->out + (size_t)b->row * a->out_pitch + at;
  const int8_t *y = a->residual ? a->residual + (size_t)b->row * a->residual_pitch + at : 0;
  finish_fours(f, factor, b->sums, TILE, y, out, n / TILE);
  if (n < TILE)
    for (uint32_t i = 0; i < n; i++)
      out[i] = fil_requantized(b->sums[i], *factor, y ? y + i : 0, f->q);
  else if (n % TILE) finish_fours(f, factor, b->sums + last, 0, y ? y + last : 0, out + last, 1);
}

/* Pairs of rows that `outs` neighbouring output rows read. */
FIL_INLINE uint32_t pairs_of(const fil_conv *g, uint32_t outs) {
  return ((outs - 1) * g->sh + g->kh + 1) / 2;
}

/* As many rows as scratch holds the input of. */
static void run_band(plane *b, uint32_t done, uint32_t outs, const finish *f) {
  const fil_conv *g = b->a->g;
  uint32_t most = b->most, step = g->sh, y = 0;
  uint32_t top = (b->a->first + done) * step - g->pad_top; /* wraps above the input */
  uint32_t *to = b->rows;
  for (uint32_t i = pairs_of(g, outs); i; i--, top += 2, to += b->pitch) fill_pair(b, to, top);
  for (uint32_t n; outs; outs -= n, done += n) {
    int32_t *sums = b->sums;
    n = outs < most ? outs : most;
    for (uint32_t j = n; j; j--, y += step, sums += g->out_w)
      sum_row(b, b->rows + y / 2 * b->pitch, &b->taps[y % 2], sums);
    finish_rows(b, done, n, f);
  }
}

/* Whether the taps, the pairs of rows that an output row reads, and its sums have room. */
static int enter(plane *b, const fil_qdwconv_args *a) {
  const fil_conv *g = a->g;
  if (g->dw > 1 || g->dh > 1 || g->out_w > ROOM - TILE || g->kh > MOST_WORDS) return 0;
  b->a = a, b->rows = (uint32_t *)(void *)a->scratch;
  uint32_t columns = (g->out_w - 1) * g->sw + g->kw;
  b->inside = columns < g->pad_left ? 0 : columns - g->pad_left;
  if (b->inside > g->in_w) b->inside = g->in_w;
  for (uint32_t i = 0; i < 4; i++) b->outside[i] = (int8_t)a->x_zero;
  b->most = (ROOM - TILE) / g->out_w;
  b->tiles = (g->out_w + TILE - 1) / TILE;
  b->pitch = b->tiles * TILE * g->sw + g->kw;
  b->taps[0].deep = (g->kh + 1u) / 2, b->taps[1].deep = g->kh / 2u + 1;
  b->held = (uint32_t)(fil_qdwconv_scratch(g) / sizeof(uint32_t)) / b->pitch;
  return b->taps[1].deep * g->kw < MOST_WORDS && b->taps[1].deep < b->held;
}

void fil_qdwconv_scalar(const fil_qdwconv_args *a);

void fil_qdwconv_dsp(const fil_qdwconv_args *a) {
  plane b;
  finish f = finish_of(&a->q);
  if (!enter(&b, a)) {
    fil_qdwconv_scalar(a);
    return;
  }
  uint32_t outside = pair_of((int8_t)a->x_zero, (int8_t)a->x_zero), band = a->rows;
  while (pairs_of(a->g, band) > b.held) band--;
  uint32_t left = a->g->pad_left < b.pitch ? a->g->pad_left : b.pitch, *row = b.rows;
  for (uint32_t i = pairs_of(a->g, band); i; i--, row += b.pitch) {
    for (uint32_t k = 0; k < left; k++) row[k] = outside;
    for (uint32_t k = left + b.inside; k < b.pitch; k++) row[k] = outside;
  }
  for (uint32_t r = 0; r < a->w.rows; r++) {
    enter_plane(&b, r);
    for (uint32_t done = 0, left = a->rows, n; left; left -= n, done += n) {
      n = left < band ? left : band;
      run_band(&b, done, n, &f);
    }
  }
}
