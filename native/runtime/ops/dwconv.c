#include "runtime/checked.h"
#include "runtime/registry.h"

fil_status fil_dwconv_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_conv *g = &op->p.conv;
  if (!fil_conv_ok(m, op, (uint32_t)g->kh * g->kw)) return FIL_E_OP;
  const fil_weights *w = &m->weights[op->weights];
  if (w->coding != FIL_CODING_NONE || w->block_rows != 1) return FIL_E_OP;
  if (w->rows != g->channels || g->ys != g->in_w || g->xs != 1) return FIL_E_OP;
  *work = fil_matrix_work(w, fil_mul(g->out_h, g->out_w), 0);
  fil_planes x = {op->x_offset, g->channels, g->cs, 0};
  x.positions = fil_mul(fil_rows_held(g->x_ring, g->in_h), g->in_w);
  if (!fil_planes_inside(m, op->in[0], x) || !fil_conv_outputs_ok(m, op)) return FIL_E_BOUNDS;
  return fil_scratch_ok(m, op, fil_dwconv_scratch(g)) ? FIL_OK : FIL_E_BOUNDS;
}

void fil_dwconv_run(const fil_run_state *s, const fil_op *op) {
  const fil_conv *g = &op->p.conv;
  fil_dwconv_args a = {
      .w = fil_matrix_of(s, op),
      .x = fil_read(s, op->in[0], op->x_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .scratch = fil_scratch_of(s, op),
      .g = g,
      .x_pitch = g->cs,
      .out_pitch = s->m->tensors[op->out].pitch,
      .ring = fil_rows_held(g->x_ring, g->in_h),
      .e = fil_epilogue_of(s, op),
  };
  uint32_t item = fil_item(s->m, op->out);
  fil_span planes = fil_take_groups(s, &a.w, &a.out, a.out_pitch, item, &a.e); /* of one row */
  if (fil_is_empty(planes)) return;
  a.x = fil_on(a.x, (size_t)planes.first * a.x_pitch, item);
  const fil_dwconv_args all = a;
  for (uint32_t row = s->from, to = fil_rows_to(s, g); row < to; row += a.rows) {
    fil_stretch piece = fil_stretch_from(g, row, to, 0);
    a.out = fil_on(all.out, piece.out, item);
    a.e.residual = fil_on(all.e.residual, piece.y, item);
    a.first = row, a.rows = piece.rows;
    fil_dwconv_by_isa[fil_isa_of(s->m, op)](&a);
  }
}
