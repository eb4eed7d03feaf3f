/* What the checks of the other ops have in common, float32 and int8: everything but types. */
#include "runtime/checked.h"
#include "runtime/shapes.h"

fil_status fil_pool_shape(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_pool *g = &op->p.pool;
  if (!fil_op_takes(op, FIL_TAKES_X | FIL_TAKES_ACT)) return FIL_E_OP;
  if (g->mode > FIL_POOL_AVG_AWAY) return FIL_E_OP;
  if (g->reserved[0] | g->reserved[1] | g->reserved[2]) return FIL_E_OP;
  if (!fil_axis_ok(g->in_h, g->out_h, g->kh, g->sh, g->dh)) return FIL_E_OP;
  if (!fil_axis_ok(g->in_w, g->out_w, g->kw, g->sw, g->dw)) return FIL_E_OP;
  uint32_t in = fil_mul(g->in_h, g->in_w), out = fil_mul(g->out_h, g->out_w);
  *work = fil_work(out, (uint32_t)g->kh * g->kw, g->channels, 1);
  fil_planes x = {op->x_offset, g->channels, m->tensors[op->in[0]].pitch, in};
  fil_planes y = {op->out_offset, g->channels, 0, out};
  if (!fil_planes_inside(m, op->in[0], x) || !fil_planes_own(m, op->out, y)) return FIL_E_BOUNDS;
  return FIL_OK;
}

fil_status fil_reduce_shape(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_reduce *g = &op->p.reduce;
  if (!fil_op_takes(op, FIL_TAKES_X | FIL_TAKES_ACT)) return FIL_E_OP;
  if (g->fn > FIL_REDUCE_MAX || g->reserved[0] | g->reserved[1] | g->reserved[2]) return FIL_E_OP;
  *work = fil_work(g->outer, g->reduce, g->inner, 1);
  uint32_t in = fil_reach(fil_reach(op->x_offset, g->outer, g->outer_s), g->reduce, g->reduce_s);
  uint32_t out = fil_reach(op->out_offset, g->outer, g->outer_so);
  if (!fil_inside(m, op->in[0], fil_reach(in, g->inner, g->inner_s))) return FIL_E_BOUNDS;
  if (!fil_inside(m, op->out, fil_reach(out, g->inner, g->inner_so))) return FIL_E_BOUNDS;
  return FIL_OK;
}

fil_status fil_softmax_shape(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_softmax *g = &op->p.softmax;
  if (!fil_op_takes(op, FIL_TAKES_X)) return FIL_E_OP;
  *work = fil_work(g->outer, g->axis, g->inner, 1);
  uint32_t span = fil_reach(fil_reach(0, g->outer, g->outer_s), g->axis, g->axis_s);
  span = fil_reach(span, g->inner, g->inner_s);
  if (!fil_inside(m, op->in[0], fil_add(span, op->x_offset))) return FIL_E_BOUNDS;
  return fil_inside(m, op->out, fil_add(span, op->out_offset)) ? FIL_OK : FIL_E_BOUNDS;
}

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

fil_status fil_map_shape(const fil_model *m, const fil_op *op, int takes, uint64_t *work) {
  const fil_map *g = &op->p.map;
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

int fil_map_axis(const fil_map *g, fil_part p) {
  int longest = 0;
  for (int i = 0; i < FIL_MAP_RANK; i++) {
    if (g->dim[i] / FIL_PART_EVEN >= p.count) return i;
    if (g->dim[i] > g->dim[longest]) longest = i;
  }
  return longest;
}
