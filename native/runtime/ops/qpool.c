#include "runtime/checked.h"
#include "runtime/q8.h"
#include "runtime/registry.h"

enum { MOST_TAPS = 1 << 22 }; /* so that a sum fits int32 */
enum { MOST_AWAY = 1 << 11 }; /* taps whose means lie further from a tie than AWAY moves them */
static const float AWAY = 1.0f + 0x1p-21f;

fil_status fil_qpool_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_pool *g = &op->p.pool;
  if (!fil_q8_ok(m, op) || fil_mul(g->kh, g->kw) > MOST_TAPS) return FIL_E_OP;
  fil_status status = fil_pool_shape(m, op, work);
  if (status < 0) return status;
  if (g->mode == FIL_POOL_AVG_AWAY && fil_mul(g->kh, g->kw) > MOST_AWAY) return FIL_E_OP;
  int keeps = g->mode == FIL_POOL_MAX || g->mode == FIL_POOL_AVG_AWAY;
  return !keeps || fil_q8_same(m, op) ? FIL_OK : FIL_E_OP;
}

void fil_qpool_run(const fil_run_state *s, const fil_op *op) {
  fil_pool g = op->p.pool;
  fil_span planes = fil_share(s->part, g.channels, 1);
  fil_qpool_args a = {
      .x = fil_read(s, op->in[0], op->x_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .g = &g,
      .x_pitch = s->m->tensors[op->in[0]].pitch,
      .out_pitch = s->m->tensors[op->out].pitch,
      .x_zero = fil_zero_of(s->m, op->in[0]),
      .multiplier = fil_scale_ratio(s->m, op),
      .q = fil_rescale_of(s, op),
  };
  if (g.mode == FIL_POOL_AVG_AWAY)
    g.mode = FIL_POOL_AVG, a.x_zero = 0, a.q.zero = 0, a.multiplier = AWAY;
  g.channels = planes.end - planes.first;
  if (fil_is_empty(planes)) return;
  a.x += (size_t)planes.first * a.x_pitch;
  a.out += (size_t)planes.first * a.out_pitch;
  fil_qpool_by_isa[s->m->isa](&a);
}
