#include "runtime/checked.h"
#include "runtime/registry.h"

fil_status fil_pool_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_pool *g = &op->p.pool;
  if (!fil_op_takes(op, FIL_TAKES_X | FIL_TAKES_ACT)) return FIL_E_OP;
  if (g->mode > FIL_POOL_AVG_PAD) return FIL_E_OP;
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
