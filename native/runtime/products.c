#include "runtime/products.h"

void fil_run_spmm(const fil_run_state *s, const fil_op *op, fil_spmm_kernel kernel) {
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
    kernel(&a);
  }
}

void fil_run_spmv(const fil_run_state *s, const fil_op *op, fil_spmv_kernel kernel) {
  fil_spmv_args a = {
      .w = fil_matrix_of(s, op),
      .x = fil_read(s, op->in[0], op->x_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .e = fil_epilogue_of(s, op),
  };
  a.e.residual_pitch = 1;
  uint32_t item = fil_item(s->m, op->out);
  if (fil_is_empty(fil_take_groups(s, &a.w, &a.out, 1, item, &a.e))) return;
  kernel(&a);
}
