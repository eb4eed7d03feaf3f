#include "runtime/registry.h"
#include "runtime/shapes.h"

static int operands_of(uint8_t fn) {
  if (fn == FIL_MAP_FILL) return 0;
  return fn == FIL_MAP_COPY ? FIL_TAKES_X : FIL_TAKES_X | FIL_NEEDS_Y;
}

fil_status fil_map_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  return op->fn < FIL_MAP_COUNT ? fil_map_shape(m, op, operands_of(op->fn), work) : FIL_E_OP;
}

static fil_span take_span(const fil_run_state *s, const fil_op *op, fil_map *g, fil_map_args *a) {
  int axis = fil_map_axis(g, s->part);
  fil_span span = fil_share(s->part, g->dim[axis], 1);
  size_t first = span.first;
  uint32_t item = fil_item(s->m, op->out), from = a->a ? fil_item(s->m, op->in[0]) : 0;
  a->a = fil_on(a->a, first * (uint32_t)g->sa[axis], from);
  a->b = fil_on(a->b, first * (uint32_t)g->sb[axis], item);
  a->out = fil_on(a->out, first * (uint32_t)g->so[axis], item);
  g->dim[axis] = span.end - span.first;
  return span;
}

void fil_map_run(const fil_run_state *s, const fil_op *op) {
  fil_map g = op->p.map;
  fil_map_args a = {
      .a = fil_read(s, op->in[0], op->x_offset),
      .b = fil_read(s, op->in[1], op->y_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .g = &g,
      .fn = op->fn,
      .from = s->m->tensors[op->in[0] == FIL_NONE ? op->out : op->in[0]].dtype,
      .to = s->m->tensors[op->out].dtype,
      .e = fil_act_of(op),
  };
  if (fil_is_empty(take_span(s, op, &g, &a))) return;
  fil_map_by_isa[fil_isa_of(s->m, op)](&a);
}
