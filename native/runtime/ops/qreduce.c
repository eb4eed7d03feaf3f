#include "runtime/q8.h"
#include "runtime/registry.h"

enum { MOST = 1 << 22 }; /* elements of a sum, so that it fits int32 */

fil_status fil_qreduce_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_reduce *g = &op->p.reduce;
  if (!fil_q8_ok(m, op) || g->reduce > MOST) return FIL_E_OP;
  fil_status status = fil_reduce_shape(m, op, work);
  if (status < 0) return status;
  return g->fn != FIL_REDUCE_MAX || fil_q8_same(m, op) ? FIL_OK : FIL_E_OP;
}

void fil_qreduce_run(const fil_run_state *s, const fil_op *op) {
  fil_reduce g = op->p.reduce;
  fil_span outer = fil_share(s->part, g.outer, 1);
  float ratio = fil_scale_ratio(s->m, op);
  fil_qreduce_args a = {
      .x = fil_read(s, op->in[0], op->x_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .g = &g,
      .x_zero = fil_zero_of(s->m, op->in[0]),
      .multiplier = g.fn == FIL_REDUCE_MEAN ? ratio / (float)g.reduce : ratio,
      .q = fil_rescale_of(s, op),
  };
  g.outer = outer.end - outer.first;
  if (fil_is_empty(outer)) return;
  a.x += (size_t)outer.first * g.outer_s;
  a.out += (size_t)outer.first * g.outer_so;
  fil_qreduce_by_isa[s->m->isa](&a);
}
