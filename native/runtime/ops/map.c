#include "runtime/checked.h"
#include "runtime/registry.h"

static uint32_t map_reach(const fil_map *g, uint32_t base, const int32_t *stride) {
  uint32_t last = base;
  for (int i = 0; i < FIL_MAP_RANK; i++) last = fil_reach(last, g->dim[i], (uint32_t)stride[i]);
  return last;
}

static int strides_ok(const int32_t *stride, int used) {
  for (int i = 0; i < FIL_MAP_RANK; i++)
    if ((uint32_t)stride[i] > (used ? FIL_MAX_ELEMENTS : 0u)) return 0;
  return 1;
}

static int operands_of(uint8_t fn) {
  if (fn == FIL_MAP_FILL) return 0;
  return fn == FIL_MAP_COPY ? FIL_TAKES_X : FIL_TAKES_X | FIL_NEEDS_Y;
}

fil_status fil_map_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_map *g = &op->p.map;
  if (op->fn >= FIL_MAP_COUNT) return FIL_E_OP;
  int takes = operands_of(op->fn);
  if (!fil_op_takes(op, takes | (takes ? FIL_TAKES_ACT : 0))) return FIL_E_OP;
  if (!strides_ok(g->sa, takes & FIL_TAKES_X) || !strides_ok(g->sb, takes & FIL_NEEDS_Y) ||
      !strides_ok(g->so, 1))
    return FIL_E_OP;
  for (int i = 0; i < FIL_MAP_RANK; i++)
    if (g->dim[i] > 1 && !g->so[i]) return FIL_E_OP; /* would write an element twice */
  *work = fil_work(g->dim[0], g->dim[1], g->dim[2], g->dim[3]);
  if (!fil_inside(m, op->out, map_reach(g, op->out_offset, g->so))) return FIL_E_BOUNDS;
  if (takes && !fil_inside(m, op->in[0], map_reach(g, op->x_offset, g->sa))) return FIL_E_BOUNDS;
  if (takes & FIL_NEEDS_Y && !fil_inside(m, op->in[1], map_reach(g, op->y_offset, g->sb)))
    return FIL_E_BOUNDS;
  return FIL_OK;
}

/* The outermost axis that is long enough to be shared out evenly, or else the longest. */
static int axis_to_share(const fil_map *g, fil_part p) {
  int longest = 0;
  for (int i = 0; i < FIL_MAP_RANK; i++) {
    if (g->dim[i] / FIL_PART_EVEN >= p.count) return i;
    if (g->dim[i] > g->dim[longest]) longest = i;
  }
  return longest;
}

static fil_span take_span(const fil_run_state *s, const fil_op *op, fil_map *g, fil_map_args *a) {
  int axis = axis_to_share(g, s->part);
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
