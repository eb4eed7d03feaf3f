#include "runtime/registry.h"
#include "runtime/shapes.h"

fil_status fil_conv_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  fil_status status = fil_conv_shape(m, op, work);
  if (status < 0) return status;
  return fil_scratch_ok(m, op, fil_conv_scratch(&op->p.conv, m->weights[op->weights].cols))
             ? FIL_OK
             : FIL_E_BOUNDS;
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
