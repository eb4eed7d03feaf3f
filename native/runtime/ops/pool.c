#include "runtime/registry.h"
#include "runtime/shapes.h"

fil_status fil_pool_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  if (op->p.pool.mode == FIL_POOL_AVG_AWAY) return FIL_E_OP;
  return fil_pool_shape(m, op, work);
}

void fil_pool_run(const fil_run_state *s, const fil_op *op) {
  fil_pool g = op->p.pool;
  fil_span planes = fil_share(s->part, g.channels, 1);
  fil_pool_args a = {
      .x = fil_read(s, op->in[0], op->x_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .g = &g,
      .x_pitch = s->m->tensors[op->in[0]].pitch,
      .out_pitch = s->m->tensors[op->out].pitch,
      .e = fil_act_of(op),
  };
  g.channels = planes.end - planes.first;
  if (fil_is_empty(planes)) return;
  uint32_t item = fil_item(s->m, op->out);
  a.x = fil_on(a.x, (size_t)planes.first * a.x_pitch, item);
  a.out = fil_on(a.out, (size_t)planes.first * a.out_pitch, item);
  fil_pool_by_isa[fil_isa_of(s->m, op)](&a);
}
