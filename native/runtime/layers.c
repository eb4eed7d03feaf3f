/* What the checks of layers have in common, float32 and int8: everything but types and scratch. */
#include "runtime/checked.h"
#include "runtime/shapes.h"

fil_status fil_spmm_shape(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_conv *g = &op->p.conv;
  if (!fil_conv_ok(m, op, g->channels) || !fil_conv_is_1x1(g)) return FIL_E_OP;
  if (g->in_h != g->out_h || g->in_w != g->out_w || g->ys != g->in_w || g->xs != 1) return FIL_E_OP;
  *work = fil_matrix_work(&m->weights[op->weights], fil_mul(g->out_h, g->out_w), 0);
  fil_planes x = {op->x_offset, g->channels, g->cs, 0};
  x.positions = fil_mul(fil_rows_held(g->x_ring, g->in_h), g->in_w);
  if (!fil_planes_inside(m, op->in[0], x) || !fil_conv_outputs_ok(m, op)) return FIL_E_BOUNDS;
  return FIL_OK;
}

fil_status fil_conv_shape(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_conv *g = &op->p.conv;
  uint32_t cols = fil_mul((uint32_t)g->kh * g->kw, g->channels);
  if (!fil_conv_ok(m, op, cols)) return FIL_E_OP;
  *work = fil_matrix_work(&m->weights[op->weights], fil_mul(g->out_h, g->out_w), cols);
  uint32_t last = fil_reach(op->x_offset, g->channels, g->cs);
  last = fil_reach(fil_reach(last, fil_rows_held(g->x_ring, g->in_h), g->ys), g->in_w, g->xs);
  if (!fil_inside(m, op->in[0], last) || !fil_conv_outputs_ok(m, op)) return FIL_E_BOUNDS;
  return FIL_OK;
}

fil_status fil_dwconv_shape(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_conv *g = &op->p.conv;
  if (!fil_conv_ok(m, op, (uint32_t)g->kh * g->kw)) return FIL_E_OP;
  const fil_weights *w = &m->weights[op->weights];
  if (w->coding != FIL_CODING_NONE || w->block_rows != 1) return FIL_E_OP;
  if (w->rows != g->channels || g->ys != g->in_w || g->xs != 1) return FIL_E_OP;
  *work = fil_matrix_work(w, fil_mul(g->out_h, g->out_w), 0);
  fil_planes x = {op->x_offset, g->channels, g->cs, 0};
  x.positions = fil_mul(fil_rows_held(g->x_ring, g->in_h), g->in_w);
  if (!fil_planes_inside(m, op->in[0], x) || !fil_conv_outputs_ok(m, op)) return FIL_E_BOUNDS;
  return FIL_OK;
}

fil_status fil_spmv_shape(const fil_model *m, const fil_op *op, uint64_t *work) {
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
