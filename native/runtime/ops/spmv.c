#include "runtime/checked.h"
#include "runtime/registry.h"

fil_status fil_spmv_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_conv *g = &op->p.conv;
  if (!fil_conv_ok(m, op, g->channels)) return FIL_E_OP;
  if (!fil_conv_is_1x1(g) || (g->in_h | g->in_w | g->out_h | g->out_w) != 1) return FIL_E_OP;
  const fil_weights *w = &m->weights[op->weights];
  *work = fil_matrix_work(w, 1, 0);
  if (!fil_inside(m, op->in[0], fil_reach(op->x_offset, w->cols, 1))) return FIL_E_BOUNDS;
  if (!fil_inside(m, op->out, fil_reach(op->out_offset, w->rows, 1))) return FIL_E_BOUNDS;
  if (op->in[1] == FIL_NONE) return FIL_OK;
  uint32_t last = fil_reach(op->y_offset, w->rows, 1);
  return fil_inside(m, op->in[1], last) ? FIL_OK : FIL_E_BOUNDS;
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
