#include "runtime/checked.h"
#include "runtime/registry.h"

fil_status fil_reduce_check(const fil_model *m, const fil_op *op, uint64_t *work) {
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

void fil_reduce_run(const fil_run_state *s, const fil_op *op) {
  fil_reduce g = op->p.reduce;
  fil_span outer = fil_share(s->part, g.outer, 1);
  fil_reduce_args a = {
      .x = fil_read(s, op->in[0], op->x_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .g = &g,
      .e = fil_act_of(op),
  };
  g.outer = outer.end - outer.first;
  if (fil_is_empty(outer)) return;
  uint32_t item = fil_item(s->m, op->out);
  a.x = fil_on(a.x, (size_t)outer.first * g.outer_s, item);
  a.out = fil_on(a.out, (size_t)outer.first * g.outer_so, item);
  fil_reduce_by_isa[fil_isa_of(s->m, op)](&a);
}
