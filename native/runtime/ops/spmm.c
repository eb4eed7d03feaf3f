#include "runtime/checked.h"
#include "runtime/registry.h"

fil_status fil_spmm_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_conv *g = &op->p.conv;
  if (!fil_conv_ok(m, op, g->channels) || !fil_conv_is_1x1(g)) return FIL_E_OP;
  if (g->in_h != g->out_h || g->in_w != g->out_w || g->ys != g->in_w || g->xs != 1) return FIL_E_OP;
  *work = fil_matrix_work(&m->weights[op->weights], fil_mul(g->out_h, g->out_w), 0);
  fil_planes x = {op->x_offset, g->channels, g->cs, 0};
  x.positions = fil_mul(fil_rows_held(g->x_ring, g->in_h), g->in_w);
  if (!fil_planes_inside(m, op->in[0], x) || !fil_conv_outputs_ok(m, op)) return FIL_E_BOUNDS;
  return fil_scratch_ok(m, op, 0) ? FIL_OK : FIL_E_BOUNDS;
}

void fil_spmm_run(const fil_run_state *s, const fil_op *op) {
  const fil_conv *g = &op->p.conv;
  fil_spmm_args a = {
      .w = fil_matrix_of(s, op),
      .x = fil_read(s, op->in[0], op->x_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .x_pitch = g->cs,
      .out_pitch = s->m->tensors[op->out].pitch,
      .e = fil_epilogue_of(s, op),
  };
  uint32_t item = fil_item(s->m, op->out);
  fil_stretches k = fil_stretches_of(s, g, &a.w, &a.out, a.out_pitch, item, &a.e);
  const fil_spmm_args all = a;
  for (fil_stretch piece; fil_next_stretch(&k, &piece, 1);) {
    a.x = fil_on(all.x, piece.x, item);
    a.out = fil_on(all.out, piece.out, item);
    a.e.residual = fil_on(all.e.residual, piece.y, item);
    a.positions = piece.positions;
    fil_spmm_by_isa[fil_isa_of(s->m, op)](&a);
  }
}
