#include "runtime/q8.h"
#include "runtime/registry.h"

fil_status fil_qspmv_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  return fil_q8_ok(m, op) ? fil_spmv_shape(m, op, work) : FIL_E_OP;
}

void fil_qspmv_run(const fil_run_state *s, const fil_op *op) {
  fil_qspmv_args a = {
      .w = fil_matrix_of(s, op),
      .x = fil_read(s, op->in[0], op->x_offset),
      .q = fil_rescale_of(s, op),
  };
  float *out = fil_write(s, op->out, op->out_offset);
  fil_epilogue e = fil_epilogue_of(s, op);
  e.residual_pitch = 1;
  if (fil_is_empty(fil_take_groups(s, &a.w, &out, 1, 1, &e))) return;
  a.out = fil_on(out, 0, 1);
  a.residual = fil_on(e.residual, 0, 1);
  fil_qspmv_by_isa[s->m->isa](&a);
}
