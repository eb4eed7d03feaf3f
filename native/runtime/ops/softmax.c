#include "runtime/registry.h"
#include "runtime/shapes.h"

fil_status fil_softmax_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  return fil_softmax_shape(m, op, work);
}

void fil_softmax_run(const fil_run_state *s, const fil_op *op) {
  fil_softmax g = op->p.softmax;
  fil_span outer = fil_share(s->part, g.outer, 1);
  fil_softmax_args a = {
      .x = fil_read(s, op->in[0], op->x_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .g = &g,
  };
  g.outer = outer.end - outer.first;
  if (fil_is_empty(outer)) return;
  uint32_t item = fil_item(s->m, op->out);
  a.x = fil_on(a.x, (size_t)outer.first * g.outer_s, item);
  a.out = fil_on(a.out, (size_t)outer.first * g.outer_s, item);
  fil_softmax_by_isa[fil_isa_of(s->m, op)](&a);
}
