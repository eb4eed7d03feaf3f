#include "runtime/q8.h"
#include "runtime/registry.h"

fil_status fil_qspmm_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  return fil_q8_ok(m, op) ? fil_spmm_shape(m, op, work) : FIL_E_OP;
}

void fil_qspmm_run(const fil_run_state *s, const fil_op *op) {
  const fil_conv *g = &op->p.conv;
  fil_qspmm_args a = {
      .w = fil_matrix_of(s, op),
      .x_pitch = g->cs,
      .out_pitch = s->m->tensors[op->out].pitch,
      .padded = s->m->lanes,
      .q = fil_rescale_of(s, op),
  };
  const int8_t *x = fil_read(s, op->in[0], op->x_offset);
  float *out = fil_write(s, op->out, op->out_offset);
  fil_epilogue e = fil_epilogue_of(s, op);
  fil_stretches k = fil_stretches_of(s, g, &a.w, &out, a.out_pitch, 1, &e);
  a.residual_pitch = e.residual_pitch;
  for (fil_stretch piece; fil_next_stretch(&k, &piece, 1);) {
    a.x = x + piece.x;
    a.out = fil_on(out, piece.out, 1);
    a.residual = fil_on(e.residual, piece.y, 1);
    a.positions = piece.positions;
    fil_qspmm_by_isa[s->m->isa](&a);
  }
}
