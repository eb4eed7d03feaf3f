#include "runtime/q8.h"
#include "runtime/registry.h"

fil_status fil_qconv_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  if (!fil_q8_ok(m, op)) return FIL_E_OP;
  fil_status status = fil_conv_shape(m, op, work);
  if (status < 0) return status;
  uint64_t scratch = fil_qconv_scratch(&op->p.conv, m->weights[op->weights].cols);
  return fil_scratch_ok(m, op, scratch) ? FIL_OK : FIL_E_BOUNDS;
}

void fil_qconv_run(const fil_run_state *s, const fil_op *op) {
  const fil_conv *g = &op->p.conv;
  fil_qconv_args a = {
      .w = fil_matrix_of(s, op),
      .x = fil_read(s, op->in[0], op->x_offset),
      .panel = fil_on(fil_scratch_of(s, op), 0, 1),
      .g = g,
      .out_pitch = s->m->tensors[op->out].pitch,
      .ring = fil_rows_held(g->x_ring, g->in_h),
      .x_zero = fil_zero_of(s->m, op->in[0]),
      .q = fil_rescale_of(s, op),
  };
  float *out = fil_write(s, op->out, op->out_offset);
  fil_epilogue e = fil_epilogue_of(s, op);
  fil_stretches k = fil_stretches_of(s, g, &a.w, &out, a.out_pitch, 1, &e);
  a.residual_pitch = e.residual_pitch;
  for (fil_stretch piece; fil_next_stretch(&k, &piece, 0);) {
    a.out = fil_on(out, piece.out, 1);
    a.residual = fil_on(e.residual, piece.y, 1);
    a.first = piece.first, a.positions = piece.positions;
    fil_qconv_by_isa[s->m->isa](&a);
  }
}
