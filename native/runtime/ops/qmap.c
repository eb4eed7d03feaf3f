#include "runtime/q8.h"
#include "runtime/registry.h"

static uint8_t type_of(const fil_model *m, uint16_t tensor) {
  return tensor == FIL_NONE ? 0 : m->tensors[tensor].dtype;
}

/* A constant of 256 int8, contiguous from y_offset on. */
static int table_ok(const fil_model *m, const fil_op *op) {
  uint16_t table = op->in[1];
  return table != FIL_NONE && m->tensors[table].place == FIL_PLACE_CONST &&
         m->tensors[table].dtype == FIL_S8 && op->y_offset < FIL_MAX_ELEMENTS &&
         fil_inside(m, table, op->y_offset + 255);
}

static int types_ok(const fil_model *m, const fil_op *op) {
  uint8_t x = type_of(m, op->in[0]), out = type_of(m, op->out);
  switch ((fil_qmap_fn)op->fn) {
  case FIL_QMAP_QUANTIZE: return x == FIL_F32 && out == FIL_S8;
  case FIL_QMAP_DEQUANTIZE: return x == FIL_S8 && out == FIL_F32;
  case FIL_QMAP_FLIP: return (x == FIL_U8 && out == FIL_S8) || (x == FIL_S8 && out == FIL_U8);
  case FIL_QMAP_COPY: return x == FIL_S8 && out == FIL_S8 && fil_q8_same(m, op);
  case FIL_QMAP_FILL: return out == FIL_S8;
  default: return x == FIL_S8 && out == FIL_S8 && type_of(m, op->in[1]) == FIL_S8;
  }
}

static int has_act(uint8_t fn) {
  return fn == FIL_QMAP_COPY || fn == FIL_QMAP_QUANTIZE || fn == FIL_QMAP_ADD ||
         fn == FIL_QMAP_SUB || fn == FIL_QMAP_MUL;
}

static int operands_of(uint8_t fn) {
  if (fn == FIL_QMAP_FILL) return 0;
  return fn >= FIL_QMAP_ADD ? FIL_TAKES_X | FIL_NEEDS_Y : FIL_TAKES_X;
}

fil_status fil_qmap_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  fil_op one = *op;
  if (op->fn >= FIL_QMAP_COUNT || !types_ok(m, op)) return FIL_E_OP;
  if (!has_act(op->fn) && op->act != FIL_ACT_NONE) return FIL_E_OP;
  if (op->fn == FIL_QMAP_TABLE) {
    if (!table_ok(m, op)) return FIL_E_OP;
    one.in[1] = FIL_NONE, one.y_offset = 0; /* a constant, not an operand */
  }
  if (!fil_q8_act_ok(op)) return FIL_E_OP;
  return fil_map_shape(m, &one, operands_of(op->fn), work);
}

static fil_span take_span(const fil_run_state *s, const fil_op *op, fil_map *g, fil_qmap_args *a) {
  int axis = fil_map_axis(g, s->part);
  fil_span span = fil_share(s->part, g->dim[axis], 1);
  size_t first = span.first;
  if (a->a) a->a = fil_on(a->a, first * (uint32_t)g->sa[axis], fil_item(s->m, op->in[0]));
  a->b = fil_on(a->b, first * (uint32_t)g->sb[axis], 1);
  a->out = fil_on(a->out, first * (uint32_t)g->so[axis], fil_item(s->m, op->out));
  g->dim[axis] = span.end - span.first;
  return span;
}

static void set_scales(const fil_run_state *s, const fil_op *op, fil_qmap_args *a) {
  const fil_tensor *t = s->m->tensors, *x = &t[op->in[0]], *out = &t[op->out];
  a->a_zero = x->zero;
  a->a_scale = x->scale;
  if (op->fn == FIL_QMAP_QUANTIZE) a->a_scale = out->scale;
  if (op->fn < FIL_QMAP_ADD) return;
  const fil_tensor *y = &t[op->in[1]];
  a->b_zero = y->zero;
  a->b_scale = y->scale / out->scale;
  a->a_scale = (op->fn == FIL_QMAP_MUL ? x->scale * y->scale : x->scale) / out->scale;
}

void fil_qmap_run(const fil_run_state *s, const fil_op *op) {
  fil_map g = op->p.map;
  fil_qmap_args a = {
      .a = fil_read(s, op->in[0], op->x_offset),
      .b = fil_read(s, op->in[1], op->y_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .g = &g,
      .fn = op->fn,
      .q = fil_rescale_of(s, op),
  };
  if (op->fn == FIL_QMAP_FILL) a.q.lo = (int32_t)op->act_lo;
  else set_scales(s, op, &a);
  if (fil_is_empty(take_span(s, op, &g, &a))) return;
  fil_qmap_by_isa[s->m->isa](&a);
}
