#include "runtime/checked.h"
#include "runtime/registry.h"

fil_status fil_conv_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_conv *g = &op->p.conv;
  uint32_t cols = fil_mul((uint32_t)g->kh * g->kw, g->channels);
  if (!fil_conv_ok(m, op, cols)) return FIL_E_OP;
  *work = fil_matrix_work(&m->weights[op->weights], fil_mul(g->out_h, g->out_w), cols);
  uint32_t last = fil_reach(op->x_offset, g->channels, g->cs);
  last = fil_reach(fil_reach(last, g->in_h, g->ys), g->in_w, g->xs);
  if (!fil_inside(m, op->in[0], last) || !fil_conv_outputs_ok(m, op)) return FIL_E_BOUNDS;
  return op->scratch_bytes < fil_conv_scratch(g, cols) ? FIL_E_BOUNDS : FIL_OK;
}

/* Neighbouring output rows that together are whole vectors, so that parts do not write into one
 * another. */
static uint32_t rows_of_vectors(const fil_conv *g) {
  uint32_t rows = 1;
  while (rows * g->out_w % FIL_PART_LANES) rows *= 2;
  return rows;
}

/* This part's output rows: the convolution of the input rows from the first that they read. */
static fil_span take_rows(const fil_run_state *s, fil_conv *g, fil_conv_args *a) {
  fil_span rows = fil_share(s->part, g->out_h, rows_of_vectors(g));
  uint32_t top = rows.first * g->sh; /* of the padded input */
  uint32_t padding = top < g->pad_top ? top : g->pad_top, skipped = top - padding;
  if (skipped < g->in_h) a->x += (size_t)skipped * g->ys;
  g->in_h -= skipped < g->in_h ? skipped : g->in_h;
  g->pad_top = (uint16_t)(g->pad_top - padding);
  g->out_h = rows.end - rows.first;
  a->out += (size_t)rows.first * g->out_w;
  fil_skip_residual(&a->e, (size_t)rows.first * g->out_w);
  return rows;
}

void fil_conv_run(const fil_run_state *s, const fil_op *op) {
  fil_conv g = op->p.conv;
  fil_conv_args a = {
      .w = fil_matrix_of(s, op),
      .x = fil_read(s, op->in[0], op->x_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .panel = fil_scratch(s, op),
      .g = &g,
      .out_pitch = s->m->tensors[op->out].pitch,
      .e = fil_epilogue_of(s, op),
  };
  uint32_t step = rows_of_vectors(&g);
  if (fil_is_by_groups(s->part, (g.out_h + step - 1) / step, a.w.groups)) {
    if (fil_is_empty(fil_take_groups(s, &a.w, &a.out, a.out_pitch, &a.e))) return;
  } else if (fil_is_empty(take_rows(s, &g, &a))) return;
  fil_conv_by_isa[s->m->isa](&a);
}
