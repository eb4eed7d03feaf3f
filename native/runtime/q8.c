#include "runtime/q8.h"

static int is_whole(float x) { return x >= -128 && x <= 127 && (float)(int32_t)x == x; }

int fil_q8_act_ok(const fil_op *op) {
  if (op->act == FIL_ACT_NONE)
    return op->kind != FIL_OP_QMAP || op->fn != FIL_QMAP_FILL || is_whole(op->act_lo);
  return op->act == FIL_ACT_CLAMP && is_whole(op->act_lo) && is_whole(op->act_hi) &&
         op->act_lo <= op->act_hi;
}

static int is_int8(const fil_model *m, uint16_t tensor) {
  return tensor == FIL_NONE || m->tensors[tensor].dtype == FIL_S8;
}

int fil_q8_ok(const fil_model *m, const fil_op *op) {
  return is_int8(m, op->in[0]) && is_int8(m, op->in[1]) && is_int8(m, op->out) && fil_q8_act_ok(op);
}

int fil_q8_same(const fil_model *m, const fil_op *op) {
  const fil_tensor *x = &m->tensors[op->in[0]], *out = &m->tensors[op->out];
  return x->scale == out->scale && x->zero == out->zero;
}

int32_t fil_zero_of(const fil_model *m, uint16_t tensor) {
  return tensor == FIL_NONE ? 0 : m->tensors[tensor].zero;
}

float fil_scale_ratio(const fil_model *m, const fil_op *op) {
  return m->tensors[op->in[0]].scale / m->tensors[op->out].scale;
}

fil_rescale fil_rescale_of(const fil_run_state *s, const fil_op *op) {
  const fil_tensor *out = &s->m->tensors[op->out];
  int clamp = op->act == FIL_ACT_CLAMP;
  fil_rescale q = {.zero = out->zero, .lo = -128, .hi = 127};
  if (clamp) q.lo = (int32_t)op->act_lo, q.hi = (int32_t)op->act_hi;
  if (op->in[1] == FIL_NONE) return q;
  q.residual_zero = fil_zero_of(s->m, op->in[1]);
  q.residual_scale = s->m->tensors[op->in[1]].scale / out->scale;
  return q;
}
