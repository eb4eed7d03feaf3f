#include "runtime/q8.h"
#include "runtime/registry.h"

fil_status fil_qdwconv_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  if (!fil_q8_ok(m, op)) return FIL_E_OP;
  fil_status status = fil_dwconv_shape(m, op, work);
  if (status < 0) return status;
  return fil_scratch_ok(m, op, fil_qdwconv_scratch(&op->p.conv)) ? FIL_OK : FIL_E_BOUNDS;
}

void fil_qdwconv_run(const fil_run_state *s, const fil_op *op) {
  const fil_conv *g = &op->p.conv;
  fil_qdwconv_args a = {
      .w = fil_matrix_of(s, op),
      .x = fil_read(s, op->in[0], op->x_offset),
      .scratch = fil_on(fil_scratch_of(s, op), 0, 1),
      .g = g,
      .x_pitch = g->cs,
      .out_pitch = s->m->tensors[op->out].pitch,
      .ring = fil_rows_held(g->x_ring, g->in_h),
      .x_zero = fil_zero_of(s->m, op->in[0]),
      .q = fil_rescale_of(s, op),
  };
  float *out = fil_write(s, op->out, op->out_offset);
  fil_epilogue e = fil_epilogue_of(s, op);
  fil_span planes = fil_take_groups(s, &a.w, &out, a.out_pitch, 1, &e); /* of one row */
  if (fil_is_empty(planes)) return;
  a.x += (size_t)planes.first * a.x_pitch;
  a.residual_pitch = e.residual_pitch;
  for (uint32_t row = s->from, to = fil_rows_to(s, g); row < to; row += a.rows) {
    fil_stretch piece = fil_stretch_from(g, row, to, 0);
    a.out = fil_on(out, piece.out, 1);
    a.residual = fil_on(e.residual, piece.y, 1);
    a.first = row, a.rows = piece.rows;
    fil_qdwconv_by_isa[s->m->isa](&a);
  }
}
