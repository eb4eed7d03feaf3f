#include "runtime/checked.h"
#include "runtime/registry.h"

fil_status fil_spmm_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_conv *g = &op->p.conv;
  if (!fil_conv_ok(m, op, g->channels) || !fil_conv_is_1x1(g)) return FIL_E_OP;
  if (g->in_h != g->out_h || g->in_w != g->out_w || g->ys != g->in_w || g->xs != 1) return FIL_E_OP;
  uint32_t positions = fil_mul(g->out_h, g->out_w);
  *work = fil_matrix_work(&m->weights[op->weights], positions, 0);
  fil_planes x = {op->x_offset, g->channels, g->cs, positions};
  if (!fil_planes_inside(m, op->in[0], x) || !fil_conv_outputs_ok(m, op)) return FIL_E_BOUNDS;
  return FIL_OK;
}

static fil_span take_positions(const fil_run_state *s, fil_spmm_args *a) {
  fil_span span = fil_share(s->part, a->positions, FIL_PART_LANES);
  a->x += span.first;
  a->out += span.first;
  fil_skip_residual(&a->e, span.first);
  a->positions = span.end - span.first;
  return span;
}

void fil_spmm_run(const fil_run_state *s, const fil_op *op) {
  const fil_conv *g = &op->p.conv;
  fil_spmm_args a = {
      .w = fil_matrix_of(s, op),
      .x = fil_read(s, op->in[0], op->x_offset),
      .out = fil_write(s, op->out, op->out_offset),
      .x_pitch = g->cs,
      .out_pitch = s->m->tensors[op->out].pitch,
      .positions = g->out_h * g->out_w,
      .e = fil_epilogue_of(s, op),
  };
  uint32_t units = (a.positions + FIL_PART_LANES - 1) / FIL_PART_LANES;
  if (fil_is_by_groups(s->part, units, a.w.groups)) {
    if (fil_is_empty(fil_take_groups(s, &a.w, &a.out, a.out_pitch, &a.e))) return;
  } else if (fil_is_empty(take_positions(s, &a))) return;
  fil_spmm_by_isa[s->m->isa](&a);
}
