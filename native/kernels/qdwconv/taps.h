/* The geometry of flat.h: where a band's rows lie, and what is read for every quad of taps. */
#ifndef FIL_QDWCONV_TAPS_H
#define FIL_QDWCONV_TAPS_H
#include "kernels/dwconv/layout.h"
#include "kernels/q8.h"
#include "simd/bytes.h"

enum {
  T = 16,
  ANY = 0,
  MOST_SIDE = 5, /* of the square kernels that have code of their own */
  MOST_QUADS = 64,
  OVERRUN = 48 /* bytes read behind the last tap's, at most */
};

typedef struct plane {
  const fil_qdwconv_args *a;
  uint32_t row, wide;
  uint32_t inner;      /* columns of an input row that exist */
  uint32_t band, rows; /* output and input rows of a band */
  uint32_t side;       /* of a kernel of 3 x 3 or 5 x 5, or ANY */
  uint32_t square;     /* the same of this plane, whose weights must bear being added in pairs */
  uint32_t quads, offset[MOST_QUADS];
  int8_t *in, *made; /* made: places; NULL: made row by row */
  int8_t w[MOST_QUADS][FIL_QUAD];
} plane;

static inline uint32_t per_row(const plane *b) { return b->wide * b->a->g->sw; }

/* Where input row i of a band lies. */
static inline uint32_t place_of_row(const plane *b, uint32_t i) {
  uint32_t sh = b->a->g->sh, part = i % sh, more = b->rows % sh;
  return (part * (b->rows / sh) + (part < more ? part : more) + i / sh) * per_row(b);
}

/* Taps of a row that are neighbours share quads. */
static inline uint32_t quads_of_row(const fil_conv *g) {
  return g->dw == 1 ? fil_quads(g->kw) : g->kw;
}

static inline void enter_plane(plane *b, uint32_t r) {
  const fil_conv *g = b->a->g;
  const int8_t *w = b->a->w.quads + (size_t)r * fil_quads((uint32_t)g->kh * g->kw) * FIL_QUAD;
  b->row = r, b->square = b->side;
  if (b->side && fil_has_lowest(w, b->side * b->side)) b->square = ANY;
  if (b->side == 3) {
    for (uint32_t ky = 0; ky < 3; ky++) __builtin_memcpy(b->w[ky], w + 3 * ky, 3);
    return;
  }
  for (uint32_t ky = 0, n = quads_of_row(g); ky < g->kh; ky++)
    for (uint32_t kx = 0; kx < g->kw; kx++) {
      uint32_t i = g->dw == 1 ? kx : kx * FIL_QUAD;
      b->w[ky * n + i / FIL_QUAD][i % FIL_QUAD] = *w++;
    }
}

static inline void place_taps(plane *b) {
  const fil_conv *g = b->a->g;
  uint32_t n = quads_of_row(g), step = g->dw == 1 ? FIL_QUAD : g->dw;
  for (uint32_t i = 0; i < b->quads; i++)
    b->offset[i] = place_of_row(b, i / n * g->dh) + i % n * step;
  __builtin_memset(b->w, 0, sizeof b->w);
}

/* Columns of an input row, and of those the ones that exist. What is outside on its right may be
 * what is outside of the next one on its left. */
static inline void place_columns(plane *b) {
  const fil_conv *g = b->a->g;
  uint32_t columns = (g->out_w - 1) * g->sw + (g->kw - 1u) * g->dw + 1;
  b->inner = columns < g->pad_left ? 0 : columns - g->pad_left;
  if (b->inner > g->in_w) b->inner = g->in_w;
  uint32_t both = b->inner ? columns - g->pad_left - b->inner : 0;
  if (both > g->pad_left) both = g->pad_left;
  b->wide = (columns - both + g->sw - 1) / g->sw;
  if (b->wide < g->out_w) b->wide = g->out_w;
}

/* 0: not with this scratch, or not with so many taps. */
static inline int plane_of(plane *b, const fil_qdwconv_args *a) {
  const fil_conv *g = a->g;
  uint64_t room = fil_qdwconv_scratch(g);
  b->a = a, b->quads = g->kh * quads_of_row(g);
  if (g->sw > 2 || g->kh > MOST_QUADS || b->quads > MOST_QUADS) return 0;
  b->band = fil_dw_layout_of(g).band;
  if (b->band > a->rows) b->band = a->rows;
  b->rows = (uint32_t)fil_dw_rows(g, b->band);
  b->side = g->kh == g->kw && g->dw == 1 && (g->kw == 3 || g->kw == 5) ? g->kw : ANY;
  place_columns(b);
  place_taps(b);
  uint64_t in = (uint64_t)b->rows * per_row(b) + (g->kw - 1u) * g->dw + OVERRUN;
  uint64_t made = (uint64_t)b->band * b->wide + T;
  if (in > room) return 0;
  b->in = a->scratch;
  int by_row = a->residual || g->out_w % T == 0 || in + made > room;
  b->made = by_row ? 0 : a->scratch + in;
  __builtin_memset(b->in, a->x_zero, in);
  return 1;
}
#endif
