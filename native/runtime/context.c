#include "runtime/context.h"
#include "runtime/checked.h"

int fil_op_takes(const fil_op *op, int flags) {
  int x = op->in[0] != FIL_NONE, y = op->in[1] != FIL_NONE, w = op->weights != FIL_NONE;
  if (x != !!(flags & FIL_TAKES_X) || w != !!(flags & FIL_TAKES_W)) return 0;
  if (y ? !(flags & (FIL_TAKES_Y | FIL_NEEDS_Y)) : (flags & FIL_NEEDS_Y) || op->y_offset) return 0;
  if (!x && op->x_offset) return 0;
  return flags & FIL_TAKES_ACT || op->act == FIL_ACT_NONE;
}

int fil_inside(const fil_model *m, uint16_t tensor, uint32_t last) {
  return last < (uint32_t)m->tensors[tensor].bytes / sizeof(float);
}

int fil_planes_inside(const fil_model *m, uint16_t tensor, fil_planes p) {
  uint32_t walked = fil_round_up(p.positions, m->lanes);
  return fil_inside(m, tensor, fil_reach(fil_reach(p.base, p.count, p.pitch), walked, 1));
}

int fil_planes_own(const fil_model *m, uint16_t tensor, fil_planes p) {
  p.pitch = m->tensors[tensor].pitch;
  return fil_round_up(p.positions, m->lanes) <= p.pitch && fil_planes_inside(m, tensor, p);
}

int fil_axis_ok(uint32_t in, uint32_t out, uint32_t k, uint32_t stride, uint32_t dilation) {
  if (in - 1 >= FIL_MAX_DIM || out - 1 >= FIL_MAX_DIM || !stride || !dilation) return 0;
  return fil_reach(fil_reach(0, out, stride), k, dilation) <= 1u << 30;
}

int fil_conv_ok(const fil_model *m, const fil_op *op, uint32_t cols) {
  const fil_conv *g = &op->p.conv;
  return fil_op_takes(op, FIL_TAKES_X | FIL_TAKES_Y | FIL_TAKES_W | FIL_TAKES_ACT) &&
         m->weights[op->weights].cols == cols && g->channels - 1 < FIL_MAX_COLS &&
         fil_axis_ok(g->in_h, g->out_h, g->kh, g->sh, g->dh) &&
         fil_axis_ok(g->in_w, g->out_w, g->kw, g->sw, g->dw);
}

int fil_conv_is_1x1(const fil_conv *g) {
  return (g->kh | g->kw | g->sh | g->sw | g->dh | g->dw) == 1 && !g->pad_top && !g->pad_left;
}

int fil_conv_outputs_ok(const fil_model *m, const fil_op *op) {
  const fil_conv *g = &op->p.conv;
  fil_planes p = {op->out_offset, m->weights[op->weights].rows, 0, fil_mul(g->out_h, g->out_w)};
  if (!fil_planes_own(m, op->out, p)) return 0;
  if (op->in[1] == FIL_NONE) return 1;
  p.base = op->y_offset;
  p.pitch = m->tensors[op->in[1]].pitch;
  return fil_planes_inside(m, op->in[1], p);
}

uint64_t fil_matrix_work(const fil_weights *w, uint32_t positions, uint32_t panel_cols) {
  uint32_t stored = w->blocks * w->block_rows + w->rows; /* caps: below 2^29 */
  return fil_work(stored + panel_cols, positions, 1, 1);
}

static uint8_t *place_of(const fil_run_state *s, const fil_tensor *t) {
  switch (t->place) {
  case FIL_PLACE_INPUT: return (uint8_t *)(uintptr_t)s->inputs[t->offset];
  case FIL_PLACE_OUTPUT: return s->outputs[t->offset - s->m->input_count];
  case FIL_PLACE_CONST: return (uint8_t *)(uintptr_t)s->m->constants + t->offset;
  default: return s->arena + t->offset;
  }
}

float *fil_write(const fil_run_state *s, uint16_t tensor, uint32_t offset) {
  return (float *)(void *)place_of(s, &s->m->tensors[tensor]) + offset;
}

const float *fil_read(const fil_run_state *s, uint16_t tensor, uint32_t offset) {
  return tensor == FIL_NONE ? 0 : fil_write(s, tensor, offset);
}

float *fil_scratch(const fil_run_state *s, const fil_op *op) {
  return (float *)(void *)(s->scratch ? s->scratch : s->arena + op->scratch_offset);
}

fil_matrix fil_matrix_of(const fil_run_state *s, const fil_op *op) {
  const fil_weights *w = &s->m->weights[op->weights];
  const uint8_t *c = s->m->constants;
  int dense = w->coding == FIL_CODING_NONE;
  return (fil_matrix){
      .values = (const float *)(const void *)(c + w->values_offset),
      .bias = (const float *)(const void *)(c + w->bias_offset),
      .index = dense ? 0 : c + w->index_offset,
      .count = dense ? 0 : (const uint16_t *)(const void *)(c + w->count_offset),
      .rows = w->rows,
      .cols = w->cols,
      .groups = w->groups,
      .block_rows = w->block_rows,
      .coding = w->coding,
  };
}

fil_epilogue fil_act_of(const fil_op *op) {
  return (fil_epilogue){.act = op->act, .lo = op->act_lo, .hi = op->act_hi};
}

fil_epilogue fil_epilogue_of(const fil_run_state *s, const fil_op *op) {
  fil_epilogue e = fil_act_of(op);
  if (op->in[1] == FIL_NONE) return e;
  e.residual = fil_read(s, op->in[1], op->y_offset);
  e.residual_pitch = s->m->tensors[op->in[1]].pitch;
  return e;
}

void fil_skip_residual(fil_epilogue *e, size_t elements) {
  if (e->residual) e->residual += elements;
}

fil_span fil_take_groups(const fil_run_state *s, fil_matrix *w, float **out, size_t pitch,
                         fil_epilogue *e) {
  fil_span groups = fil_share_groups(w, s->part);
  if (fil_is_empty(groups)) return groups;
  size_t row = (size_t)groups.first * w->block_rows;
  *out += row * pitch;
  fil_skip_residual(e, row * e->residual_pitch);
  fil_keep_groups(w, groups);
  return groups;
}
