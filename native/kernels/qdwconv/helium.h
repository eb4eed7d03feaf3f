/* Depthwise convolution of int8 on Helium. A band of a plane lies in scratch with the input's zero
 * around it, its rows one behind the other, so that all its outputs are one run of positions, a few
 * of them between the rows for nothing; their bytes lie in scratch too, and go to the output row by
 * row. Stride 2: four images, of even or odd rows and columns, in which neighbours are neighbours. */
#include "kernels/dwconv/layout.h"
#include "simd/q8_helium.h"

enum { MOST_TAPS = 64, N = 16 };

/* pitch, lines: of an image. offset: of a tap from an output's place. */
typedef struct plane {
  const fil_qdwconv_args *a;
  int8_t *images, *made;
  uint32_t pitch, lines, taps;
  uint32_t offset[MOST_TAPS];
} plane;

/* Where column x of row y, counted with the padding, lies. */
FIL_INLINE uint32_t at(const plane *b, uint32_t y, uint32_t x) {
  if (b->a->g->sw == 1) return y * b->pitch + x;
  return ((y % 2 * 2 + x % 2) * b->lines + y / 2) * b->pitch + x / 2;
}

static void copy_row(const plane *b, uint32_t y, const int8_t *from, int32_t n) {
  const uint32_t left = b->a->g->pad_left;
  int8_t *to = b->images + at(b, y, left), *odd = b->images + at(b, y, left + 1);
  if (b->a->g->sw == 1) {
    copy_bytes(to, from, n);
    return;
  }
  for (; n > 0; n -= 16, from += 16, to += 8, odd += 8) {
    uint16x8_t pairs = vreinterpretq_u16_s8(vldrbq_z_s8(from, vctp8q((uint32_t)n)));
    vstrbq_p_u16((uint8_t *)to, pairs, vctp16q((uint32_t)(n + 1) / 2));
    vstrbq_p_u16((uint8_t *)odd, vshrq_n_u16(pairs, 8), vctp16q((uint32_t)n / 2));
  }
}

/* Rows [top, top + rows) of plane x, counted from the input's first. */
static void fill(const plane *b, const int8_t *x, uint32_t top, uint32_t rows) {
  const fil_conv *g = b->a->g;
  uint32_t columns = (g->out_w - 1) * g->sw + (uint32_t)(g->kw - 1) * g->dw + 1;
  if (columns <= g->pad_left) return;
  uint32_t n = columns - g->pad_left < g->in_w ? columns - g->pad_left : g->in_w;
  for (uint32_t i = 0; i < rows; i++) {
    uint32_t y = top + i; /* wraps above the input */
    if (y < g->in_h) copy_row(b, i, x + (size_t)(y % b->a->ring) * g->in_w, (int32_t)n);
  }
}

FIL_INLINE void add_tap(int32x4_t sum[4], const int8_t *x, int32_t w) {
  FIL_UNROLL(j, 4) sum[j] = vmlaq_n_s32(sum[j], vldrbq_s32(x + 4 * j), w);
}

/* Sixteen neighbours. Three by three taps lie in rows. */
FIL_INLINE void sum_strip(const plane *b, const int8_t *x, const int8_t *w, int32x4_t sum[4],
                          const uint32_t stride) {
  if (!stride) {
    for (uint32_t k = 0; k < b->taps; k++) add_tap(sum, x + b->offset[k], w[k]);
    return;
  }
  FIL_UNROLL(y, 3) {
    const int8_t *even = x + b->offset[3 * y], *odd = stride == 1 ? even + 1 : x + b->offset[3 * y + 1];
    add_tap(sum, even, w[3 * y]);
    add_tap(sum, odd, w[3 * y + 1]);
    add_tap(sum, even + 3 - stride, w[3 * y + 2]);
  }
}

FIL_INLINE void convolve_run(const plane *b, uint32_t r, int32_t n, const uint32_t stride) {
  const finish f = finish_of(&b->a->q);
  const int32_t start = b->a->w.sums[r];
  const float32x4_t factor = vdupq_n_f32(b->a->w.multipliers[r]);
  const int8_t *x = b->images, *w = b->a->w.quads + (size_t)r * fil_quads(b->taps) * FIL_QUAD;
  for (int8_t *to = b->made; n > 0; n -= N, x += N, to += N) {
    int32x4_t sum[4];
    FIL_UNROLL(j, 4) sum[j] = vdupq_n_s32(start);
    sum_strip(b, x, w, sum, stride);
    FIL_UNROLL(j, 4) vstrbq_s32(to + 4 * j, rounded(sum[j], factor, &f));
  }
}

static void convolve(const plane *b, uint32_t r, int32_t n) {
  const fil_conv *g = b->a->g;
  int three = g->kh == 3 && g->kw == 3 && g->dw == 1;
  if (three && g->sw == 1) convolve_run(b, r, n, 1);
  else if (three) convolve_run(b, r, n, 2);
  else convolve_run(b, r, n, 0);
}

/* Output rows [done, done + outs) of plane r. `paint`: what lies around the input is not there yet. */
static void run_band(plane *b, uint32_t r, uint32_t done, uint32_t outs, int paint) {
  const fil_qdwconv_args *a = b->a;
  const fil_conv *g = a->g;
  uint32_t rows = (uint32_t)fil_dw_rows(g, outs), n = (outs - 1) * b->pitch + g->out_w;
  if (paint) set_bytes(b->images, (int8_t)a->x_zero, (int32_t)(b->made - b->images));
  fill(b, a->x + (size_t)r * a->x_pitch, (a->first + done) * g->sh - g->pad_top, rows);
  convolve(b, r, (int32_t)n);
  int8_t *out = a->out + (size_t)r * a->out_pitch + (size_t)done * g->out_w;
  for (uint32_t i = 0; i < outs; i++, out += g->out_w)
    copy_bytes(out, b->made + (size_t)i * b->pitch, (int32_t)g->out_w);
}

/* 0: not for bands of `outs` rows. */
static int plane_of(plane *b, const fil_qdwconv_args *a, uint32_t outs) {
  const fil_conv *g = a->g;
  b->a = a, b->taps = (uint32_t)g->kh * g->kw;
  if (g->sh != g->sw || g->sw > 2 || b->taps > MOST_TAPS || a->residual) return 0;
  uint32_t rows = (uint32_t)fil_dw_rows(g, outs), images = g->sw * g->sw;
  b->pitch = g->out_w + (uint32_t)(g->kw - 1) * g->dw / g->sw;
  b->lines = (rows + g->sw - 1) / g->sw;
  uint64_t bytes = (uint64_t)images * b->lines * b->pitch + N;
  if (bytes + (uint64_t)outs * b->pitch + N > fil_qdwconv_scratch(g)) return 0;
  b->images = a->scratch, b->made = a->scratch + bytes;
  for (uint32_t k = 0; k < b->taps; k++)
    b->offset[k] = at(b, k / g->kw * g->dh, k % g->kw * g->dw);
  return 1;
}

void fil_qdwconv_scalar(const fil_qdwconv_args *a);

void fil_qdwconv_helium(const fil_qdwconv_args *a) {
  uint32_t band = fil_dw_layout_of(a->g).band, most = a->rows < band ? a->rows : band;
  plane b;
  if (!plane_of(&b, a, most)) {
    fil_qdwconv_scalar(a);
    return;
  }
  for (uint32_t r = 0; r < a->w.rows; r++)
    for (uint32_t done = 0, outs; done < a->rows; done += outs) {
      outs = a->rows - done < most ? a->rows - done : most;
      run_band(&b, r, done, outs, !r || most < a->rows);
    }
}
