#include "runtime/checked.h"
#include "runtime/registry.h"

fil_status fil_matmul_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_matmul *g = &op->p.matmul;
  if (!fil_op_takes(op, FIL_TAKES_X | FIL_NEEDS_Y | FIL_TAKES_ACT)) return FIL_E_OP;
  *work = fil_work(g->batch, g->m, g->n, g->k);
  uint32_t a = fil_reach(fil_reach(op->x_offset, g->batch, g->ab), g->m, g->am);
  uint32_t b = fil_reach(fil_reach(op->y_offset, g->batch, g->bb), g->k, g->bk);
  uint32_t c = fil_reach(fil_reach(op->out_offset, g->batch, g->cb), g->m, g->cm);
  if (!fil_inside(m, op->in[0], fil_reach(a, g->k, g->ak))) return FIL_E_BOUNDS;
  if (!fil_inside(m, op->in[1], fil_reach(b, g->n, 1))) return FIL_E_BOUNDS;
  return fil_inside(m, op->out, fil_reach(c, g->n, 1)) ? FIL_OK : FIL_E_BOUNDS;
}

/* This part's matrices, or its rows of every matrix if there are more of those. */
static fil_span take_rows(const fil_run_state *s, const fil_op *op, fil_matmul *g,
                          fil_matmul_args *a) {
  int batches = g->batch > g->m;
  fil_span span = fil_share(s->part, batches ? g->batch : g->m, 1);
  uint32_t item = fil_item(s->m, op->out);
  a->a = fil_on(a->a, (size_t)span.first * (batches ? g->ab : g->am), item);
  a->b = fil_on(a->b, (size_t)span.first * (batches ? g->bb : 0), item);
  a->out = fil_on(a->out, (size_t)span.first * (batches ? g->cb : g->cm), item);
  *(batches ? &g->batch : &g->m) = span.end - span.first;
  return span;
}

void fil_matmul_run(const fil_run_state *s, const fil_op *op) {
  fil_matmul g = op->p.matmul;
  fil_matmul_args a = {
      .a = fil_read(s, op->in[0], op->x_offset),
      .b = fil_read(s, op->in[1], op->y_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .g = &g,
      .e = fil_act_of(op),
  };
  if (fil_is_empty(take_rows(s, op, &g, &a))) return;
  fil_matmul_by_isa[fil_isa_of(s->m, op)](&a);
}
