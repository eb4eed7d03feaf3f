#include "runtime/registry.h"
#include "runtime/shapes.h"

fil_status fil_spmm_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  fil_status status = fil_spmm_shape(m, op, work);
  if (status < 0) return status;
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
