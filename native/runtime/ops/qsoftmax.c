#include "runtime/checked.h"
#include "runtime/q8.h"
#include "runtime/registry.h"

/* in[1] holds 256 powers: of exp(-i * scale of in[0]). */
static int powers_ok(const fil_model *m, const fil_op *op) {
  if (op->in[1] == FIL_NONE) return 0;
  const fil_tensor *t = &m->tensors[op->in[1]];
  return t->dtype == FIL_F32 && t->place == FIL_PLACE_CONST &&
         fil_inside(m, op->in[1], fil_reach(op->y_offset, 256, 1));
}

fil_status fil_qsoftmax_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  fil_op one = *op; /* without its constant: as float32 softmax, and all int8 */
  one.in[1] = FIL_NONE, one.y_offset = 0;
  if (!powers_ok(m, op)) return FIL_E_OP;
  return fil_q8_ok(m, &one) ? fil_softmax_shape(m, &one, work) : FIL_E_OP;
}

void fil_qsoftmax_run(const fil_run_state *s, const fil_op *op) {
  fil_softmax g = op->p.softmax;
  fil_span outer = fil_share(s->part, g.outer, 1);
  fil_qsoftmax_args a = {
      .x = fil_read(s, op->in[0], op->x_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .g = &g,
      .powers = fil_read(s, op->in[1], op->y_offset),
      .scale = s->m->tensors[op->out].scale,
      .q = {.zero = fil_zero_of(s->m, op->out), .lo = -128, .hi = 127},
  };
  g.outer = outer.end - outer.first;
  if (fil_is_empty(outer)) return;
  a.x += (size_t)outer.first * g.outer_s;
  a.out += (size_t)outer.first * g.outer_s;
  fil_qsoftmax_by_isa[s->m->isa](&a);
}
