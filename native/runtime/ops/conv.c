#include "runtime/checked.h"
#include "runtime/registry.h"

fil_status fil_conv_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_conv *g = &op->p.conv;
  uint32_t cols = fil_mul((uint32_t)g->kh * g->kw, g->channels);
  if (!fil_conv_ok(m, op, cols)) return FIL_E_OP;
  *work = fil_matrix_work(&m->weights[op->weights], fil_mul(g->out_h, g->out_w), cols);
  uint32_t last = fil_reach(op->x_offset, g->channels, g->cs);
  last = fil_reach(fil_reach(last, fil_rows_held(g->x_ring, g->in_h), g->ys), g->in_w, g->xs);
  if (!fil_inside(m, op->in[0], last) || !fil_conv_outputs_ok(m, op)) return FIL_E_BOUNDS;
  return fil_scratch_ok(m, op, fil_conv_scratch(g, cols)) ? FIL_OK : FIL_E_BOUNDS;
}

void fil_conv_run(const fil_run_state *s, const fil_op *op) {
  const fil_conv *g = &op->p.conv;
  fil_conv_args a = {
      .w = fil_matrix_of(s, op),
      .x = fil_read(s, op->in[0], op->x_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .panel = fil_scratch_of(s, op),
      .g = g,
      .out_pitch = s->m->tensors[op->out].pitch,
      .ring = fil_rows_held(g->x_ring, g->in_h),
      .e = fil_epilogue_of(s, op),
  };
  uint32_t item = fil_item(s->m, op->out);
  fil_stretches k = fil_stretches_of(s, g, &a.w, &a.out, a.out_pitch, item, &a.e);
  const fil_conv_args all = a;
  for (fil_stretch piece; fil_next_stretch(&k, &piece, 0);) {
    a.out = fil_on(all.out, piece.out, item);
    a.e.residual = fil_on(all.e.residual, piece.y, item);
    a.first = piece.first, a.positions = piece.positions;
    fil_conv_by_isa[fil_isa_of(s->m, op)](&a);
  }
}
