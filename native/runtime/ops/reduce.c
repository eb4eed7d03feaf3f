#include "runtime/registry.h"
#include "runtime/shapes.h"

fil_status fil_reduce_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  return fil_reduce_shape(m, op, work);
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
