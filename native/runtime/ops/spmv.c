#include "runtime/registry.h"
#include "runtime/shapes.h"

fil_status fil_spmv_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  return fil_spmv_shape(m, op, work);
}

void fil_spmv_run(const fil_run_state *s, const fil_op *op) {
  fil_spmv_args a = {
      .w = fil_matrix_of(s, op),
      .x = fil_read(s, op->in[0], op->x_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .e = fil_epilogue_of(s, op),
  };
  a.e.residual_pitch = 1;
  uint32_t item = fil_item(s->m, op->out);
  if (fil_is_empty(fil_take_groups(s, &a.w, &a.out, 1, item, &a.e))) return;
  fil_spmv_by_isa[fil_isa_of(s->m, op)](&a);
}
