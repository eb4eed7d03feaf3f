#include "runtime/registry.h"
#include "runtime/shapes.h"

fil_status fil_dwconv_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  fil_status status = fil_dwconv_shape(m, op, work);
  if (status < 0) return status;
  return fil_scratch_ok(m, op, fil_dwconv_scratch(&op->p.conv)) ? FIL_OK : FIL_E_BOUNDS;
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
