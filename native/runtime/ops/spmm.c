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
  uint32_t to = fil_rows_to(s, g), units = (to - s->from) * g->out_w / FIL_PART_LANES + 1;
  fil_part part = s->part; /* of every stretch; or of the groups, and then of every stretch all */
  if (fil_is_by_groups(part, units, a.w.groups)) {
    if (fil_is_empty(fil_take_groups(s, &a.w, &a.out, a.out_pitch, &a.e))) return;
    part = FIL_WHOLE;
  }
  const fil_spmm_args all = a;
  for (uint32_t row = s->from; row < to;) {
    fil_stretch piece = fil_stretch_from(g, row, to, 1);
    fil_span span = fil_share(part, piece.rows * g->out_w, FIL_PART_LANES);
    a.x = all.x + piece.x + span.first;
    a.out = all.out + piece.out + span.first;
    if (all.e.residual) a.e.residual = all.e.residual + piece.y + span.first;
    a.positions = span.end - span.first;
    if (!fil_is_empty(span)) fil_spmm_by_isa[s->m->isa](&a);
    row += piece.rows;
  }
}
