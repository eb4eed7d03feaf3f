/* Depthwise convolution of int8 on Helium. A band of a plane lies in scratch with the input's zero
 * around it, and again as words: for each place of an output, the four columns from there on. A
 * vector is the words of four rows (kernels of more than four columns: of two, and the next four
 * columns), and one instruction adds up its products. Three rows of taps at stride 1: the vector is
 * good for two rows of outputs. */
#include "kernels/dwconv/layout.h"
#include "simd/q8_helium.h"

enum { MOST_WORDS = 16, VECTORS = MOST_WORDS / 4, MOST_KW = 8, SUMS = 128, SLACK = 32 };

/* Which taps a vector multiplies: their places, of those lanes that have one. */
typedef struct taps {
  uint8_t at[16];
  mve_pred16_t some;
} taps;

/* pitch, line: the bytes and words of a row; step: words to the next row of outputs. outs: output
 * rows of a band, most: of what is summed at a time; inside: columns that are not padding.
 * words_at: from an output's first word to the words of a vector, in bytes. second: the taps of the
 * output below. */
typedef struct plane {
  const fil_qdwconv_args *a;
  int8_t *image;
  int32_t *words;
  uint32_t pitch, line, step, vectors, outs, most, inside;
  uint32_t words_at[MOST_WORDS];
  taps first[VECTORS], second;
  int two;
} plane;

static void copy_rows(int8_t *to, uint32_t to_pitch, const int8_t *from, uint32_t from_pitch,
                      uint32_t rows, uint32_t n) {
  if (n > 16) {
    for (; rows; rows--, to += to_pitch, from += from_pitch) copy_bytes(to, from, (int32_t)n);
    return;
  }
  const mve_pred16_t some = vctp8q(n);
  for (; rows; rows--, to += to_pitch, from += from_pitch)
    vstrbq_p_s8(to, vldrbq_z_s8(from, some), some);
}

/* Rows [top, top + rows) of plane x to the image, those that there are. */
static void fill_image(const plane *b, const int8_t *x, int32_t top, uint32_t rows) {
  const fil_conv *g = b->a->g;
  uint32_t i = top < 0 ? (uint32_t)-top : 0, y = (uint32_t)(top + (int32_t)i);
  for (uint32_t run; i < rows && y < g->in_h; i += run, y += run) {
    uint32_t at = y % b->a->ring;
    run = rows - i < g->in_h - y ? rows - i : g->in_h - y;
    if (run > b->a->ring - at) run = b->a->ring - at;
    copy_rows(b->image + (size_t)i * b->pitch + g->pad_left, b->pitch, x + (size_t)at * g->in_w,
              g->in_w, run, b->inside);
  }
}

/* The words of n bytes of the image. */
static void fill_words(const plane *b, int32_t n) {
  const int8_t *x = b->image;
  int32_t *to = b->words;
  if (b->a->g->sw == 1)
    for (; n > 0; n -= 16, x += 16, to += 16) {
      int8x16x4_t v = {{vldrbq_s8(x), vldrbq_s8(x + 1), vldrbq_s8(x + 2), vldrbq_s8(x + 3)}};
      vst4q_s8((int8_t *)to, v);
    }
  else
    for (; n > 0; n -= 16, x += 16, to += 8) {
      const int16_t *pairs = (const int16_t *)(const void *)x;
      int16x8x2_t v = {{vldrhq_s16(pairs), vldrhq_s16(pairs + 1)}};
      vst2q_s16((int16_t *)to, v);
    }
}

FIL_INLINE int8x16_t weights_of(const taps *t, const int8_t *w) {
  return vldrbq_gather_offset_z_s8(w, vld1q_u8(t->at), t->some);
}

FIL_INLINE uint32x4_t words_from(const plane *b, const int32_t *x, uint32_t v) {
  return vaddq_n_u32(vld1q_u32(b->words_at + 4 * v), (uint32_t)(uintptr_t)(x - 1));
}

FIL_INLINE int8x16_t next_words(uint32x4_t *at) {
  return vreinterpretq_s8_s32(vldrwq_gather_base_wb_s32(at, sizeof(int32_t)));
}

/* n outputs of a row from words x on. */
static void sum_row(const plane *b, const int32_t *x, const int8_t *w, int32_t *sums, uint32_t n) {
  uint32x4_t at = words_from(b, x, 0);
  int8x16_t weights = weights_of(&b->first[0], w);
  for (uint32_t i = 0; i < n; i++) sums[i] = vmladavq_s8(weights, next_words(&at));
  for (uint32_t v = 1; v < b->vectors; v++) {
    at = words_from(b, x, v), weights = weights_of(&b->first[v], w);
    for (uint32_t i = 0; i < n; i++) sums[i] = vmladavaq_s8(sums[i], weights, next_words(&at));
  }
}

/* `outs` rows, of each n outputs from words x on, to sums a row of `apart` behind each other. */
static void sum_rows(const plane *b, const int32_t *x, const int8_t *w, int32_t *sums,
                     uint32_t outs, uint32_t n, uint32_t apart) {
  const uint32_t step = b->step;
  if (b->two) {
    const int8x16_t first = weights_of(&b->first[0], w), second = weights_of(&b->second, w);
    for (; outs > 1; outs -= 2, x += 2 * (size_t)step, sums += 2 * (size_t)apart) {
      uint32x4_t at = words_from(b, x, 0);
      int32_t *to = sums, *below = sums + apart;
      for (uint32_t i = n; i; i--) {
        int8x16_t v = next_words(&at);
        *to++ = vmladavq_s8(first, v), *below++ = vmladavq_s8(second, v);
      }
    }
  }
  for (; outs; outs--, x += step, sums += apart) sum_row(b, x, w, sums, n);
}

FIL_INLINE int16x8_t finished(const int32_t *sums, int32_t start, float32x4_t factor,
                              const limits *l) {
  int32x4x2_t v = vld2q_s32(sums);
  return packed(vaddq_n_s32(v.val[0], start), vaddq_n_s32(v.val[1], start), factor, l);
}

static void finish_run(const plane *b, uint32_t r, const int32_t *sums, int8_t *to, uint32_t n) {
  const limits l = limits_of(&b->a->q);
  const int32_t start = b->a->w.sums[r];
  const float32x4_t factor = vdupq_n_f32(b->a->w.multipliers[r]);
  for (uint32_t i = n / 8; i; i--, to += 8, sums += 8)
    vstrbq_s16(to, finished(sums, start, factor, &l));
  if (n % 8) vstrbq_p_s16(to, finished(sums, start, factor, &l), vctp16q(n % 8));
}

/* The band's output rows, as many at a time as their sums fit; wide ones in parts. */
static void convolve(const plane *b, uint32_t r, const int8_t *w, int8_t *out, uint32_t outs) {
  const fil_conv *g = b->a->g;
  const int32_t *x = b->words;
  int32_t sums[SUMS + 8];
  for (uint32_t rows; outs; outs -= rows, out += rows * g->out_w, x += (size_t)rows * b->step) {
    rows = outs < b->most ? outs : b->most;
    if (g->out_w <= SUMS / 2) {
      sum_rows(b, x, w, sums, rows, g->out_w, g->out_w);
      finish_run(b, r, sums, out, rows * g->out_w);
      continue;
    }
    for (uint32_t p = 0, n; p < g->out_w; p += n) {
      n = g->out_w - p < SUMS / 2 ? g->out_w - p : SUMS / 2;
      sum_rows(b, x + p, w, sums, rows, n, SUMS / 2);
      for (uint32_t k = 0; k < rows; k++)
        finish_run(b, r, sums + k * SUMS / 2, out + (size_t)k * g->out_w + p, n);
    }
  }
}

/* Word i of an output is of row i / side, columns from i % side x 4 on. */
static void enter_taps(plane *b, uint32_t side) {
  const fil_conv *g = b->a->g;
  b->second.some = 0;
  for (uint32_t i = 0; i < 4 * b->vectors; i++) {
    uint32_t ky = i / side, kx = i % side * 4;
    taps *t = &b->first[i / 4];
    b->words_at[i] = 0;
    if (i % 4 == 0) t->some = 0;
    if (ky >= (uint32_t)g->kh + !!b->two) continue;
    b->words_at[i] = (ky * g->dh * b->line + kx / g->sw) * sizeof(int32_t);
    for (uint32_t j = 0; j < 4 && kx + j < g->kw; j++) {
      uint32_t lane = i % 4 * 4 + j, tap = ky * g->kw + kx + j;
      if (ky < g->kh) t->at[lane] = (uint8_t)tap, t->some |= (mve_pred16_t)(1u << lane);
      if (!b->two || !ky) continue;
      b->second.at[lane] = (uint8_t)(tap - g->kw);
      b->second.some |= (mve_pred16_t)(1u << lane);
    }
  }
}

static uint32_t image_of(const plane *b, uint32_t outs) {
  return ((uint32_t)fil_dw_rows(b->a->g, outs) * b->pitch + SLACK + 15) / 16 * 16;
}

/* Bands of `outs` rows fit in scratch; of one row more, weights of 0 are multiplied by anything. */
static int fits(const plane *b, uint32_t outs) {
  uint64_t rows = fil_dw_rows(b->a->g, outs), words = (rows + 1) * b->line + 16;
  if (rows * b->pitch > fil_qdwconv_scratch(b->a->g)) return 0;
  return image_of(b, outs) + words * sizeof(int32_t) <= fil_qdwconv_scratch(b->a->g);
}

/* 0: not by words. */
static int plane_of(plane *b, const fil_qdwconv_args *a) {
  const fil_conv *g = a->g;
  const uint32_t side = (g->kw + 3u) / 4, words = side * g->kh;
  if (g->sw > 2 || g->dw != 1 || g->kw > MOST_KW || words > MOST_WORDS || a->residual) return 0;
  b->a = a, b->outs = a->rows, b->vectors = (words + 3) / 4;
  b->line = g->out_w - 1 + (g->kw + g->sw - 1u) / g->sw;
  b->pitch = b->line * g->sw, b->step = b->line * g->sh;
  b->most = SUMS / g->out_w < 2 ? 2 : SUMS / g->out_w / 2 * 2;
  b->two = g->kh == 3 && g->sh == 1 && g->dh == 1 && side == 1;
  while (b->outs > 1 && !fits(b, b->outs)) b->outs = (b->outs + 1) / 2;
  if (!fits(b, b->outs)) return 0;
  b->inside = b->pitch - g->pad_left < g->in_w ? b->pitch - g->pad_left : g->in_w;
  if (b->pitch <= g->pad_left) b->inside = 0;
  b->image = a->scratch;
  b->words = (int32_t *)(void *)(a->scratch + image_of(b, b->outs));
  enter_taps(b, side);
  return 1;
}

void fil_qdwconv_scalar(const fil_qdwconv_args *a);

void fil_qdwconv_helium(const fil_qdwconv_args *a) {
  const fil_conv *g = a->g;
  plane b;
  if (!plane_of(&b, a)) {
    fil_qdwconv_scalar(a);
    return;
  }
  const uint32_t step = fil_quads((uint32_t)g->kh * g->kw) * FIL_QUAD;
  const int8_t *w = a->w.quads;
  for (uint32_t r = 0; r < a->w.rows; r++, w += step)
    for (uint32_t done = 0, outs; done < a->rows; done += outs) {
      outs = a->rows - done < b.outs ? a->rows - done : b.outs;
      uint32_t rows = (uint32_t)fil_dw_rows(g, outs), n = rows * b.pitch;
      if (!r || b.outs < a->rows) set_bytes(b.image, (int8_t)a->x_zero, (int32_t)n);
      int32_t top = (int32_t)((a->first + done) * g->sh) - g->pad_top;
      fill_image(&b, a->x + (size_t)r * a->x_pitch, top, rows);
      fill_words(&b, (int32_t)n);
      convolve(&b, r, w, a->out + (size_t)r * a->out_pitch + (size_t)done * g->out_w, outs);
    }
}
