/* The scratch of a depthwise convolution: a band of input rows, zero-padded and split by column, so
 * that what one tap reads for neighbouring outputs is contiguous:
 *   stride 1     one phase: the row itself
 *   stride 2     two phases: even columns, odd columns
 *   else         one phase per kernel column: just what that tap reads */
#ifndef FIL_DWCONV_LAYOUT_H
#define FIL_DWCONV_LAYOUT_H
#include "filigree/format.h"

enum {
  FIL_DW_LANES = 16, /* of the widest ISA: vectors may read and write past a row's end by as much */
  FIL_DW_FLOATS = 4096, /* of a band, if enough for FIL_DW_ROWS output rows: half of a small L1 */
  FIL_DW_ROWS = 4       /* output rows of a register tile, the most */
};

typedef struct fil_dw_layout {
  uint64_t columns; /* of a padded row: what the outputs span */
  uint64_t phase;   /* floats from phase to phase */
  uint64_t row;     /* floats from row to row */
  uint64_t rows;    /* input rows of a band */
  uint32_t band;    /* output rows of a band */
} fil_dw_layout;

/* Input rows that `outs` neighbouring output rows read. */
static inline uint64_t fil_dw_rows(const fil_conv *g, uint64_t outs) {
  return (outs - 1) * g->sh + (uint64_t)(g->kh - 1) * g->dh + 1;
}

/* Output rows of a band: what FIL_DW_FLOATS hold, in whole register tiles, one at least. */
static inline uint32_t fil_dw_band(const fil_conv *g, uint64_t row) {
  uint64_t rows = FIL_DW_FLOATS / row, first = fil_dw_rows(g, 1);
  uint64_t outs = rows < first ? 0 : (rows - first) / g->sh + 1;
  outs = outs < FIL_DW_ROWS ? FIL_DW_ROWS : outs / FIL_DW_ROWS * FIL_DW_ROWS;
  return outs < g->out_h ? (uint32_t)outs : g->out_h;
}

static inline fil_dw_layout fil_dw_layout_of(const fil_conv *g) {
  uint64_t taps = (uint64_t)(g->kw - 1) * g->dw, reach = g->sw > 2 ? 0 : taps / g->sw;
  fil_dw_layout l;
  l.columns = (uint64_t)(g->out_w - 1) * g->sw + taps + 1;
  l.phase = (g->out_w + reach + 2 * FIL_DW_LANES) / FIL_DW_LANES * FIL_DW_LANES;
  l.row = l.phase * (g->sw <= 2 ? g->sw : g->kw);
  l.band = fil_dw_band(g, l.row);
  l.rows = fil_dw_rows(g, l.band);
  return l;
}
#endif
