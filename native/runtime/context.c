#include "runtime/band.h"
#include "runtime/checked.h"

int fil_op_takes(const fil_op *op, int flags) {
  int x = op->in[0] != FIL_NONE, y = op->in[1] != FIL_NONE, w = op->weights != FIL_NONE;
  if (x != !!(flags & FIL_TAKES_X) || w != !!(flags & FIL_TAKES_W)) return 0;
  if (y ? !(flags & (FIL_TAKES_Y | FIL_NEEDS_Y)) : (flags & FIL_NEEDS_Y) || op->y_offset) return 0;
  if (!x && op->x_offset) return 0;
  return flags & FIL_TAKES_ACT || op->act == FIL_ACT_NONE;
}

uint32_t fil_dtype_bytes(uint8_t dtype) {
  switch (dtype) {
  case FIL_F32:
  case FIL_S32: return 4;
  case FIL_F16: return 2;
  case FIL_S8:
  case FIL_U8: return 1;
  default: return 0;
  }
}

uint32_t fil_item(const fil_model *m, uint16_t tensor) {
  return fil_dtype_bytes(m->tensors[tensor].dtype);
}

static int is_f16(const fil_model *m, uint16_t tensor) {
  return tensor != FIL_NONE && m->tensors[tensor].dtype == FIL_F16;
}

fil_isa fil_isa_of(const fil_model *m, const fil_op *op) {
  return is_f16(m, op->out) || is_f16(m, op->in[0]) ? m->isa_f16 : m->isa;
}

int fil_inside(const fil_model *m, uint16_t tensor, uint32_t last) {
  return last < (uint32_t)m->tensors[tensor].bytes / fil_item(m, tensor);
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

/* Kernels on float16 take no weights of float32, but for SPMV. */
static int weights_fit(const fil_model *m, const fil_op *op) {
  return !is_f16(m, op->out) || op->kind == FIL_OP_SPMV || m->weights[op->weights].dtype == FIL_F16;
}

int fil_conv_ok(const fil_model *m, const fil_op *op, uint32_t cols) {
  const fil_conv *g = &op->p.conv;
  return fil_op_takes(op, FIL_TAKES_X | FIL_TAKES_Y | FIL_TAKES_W | FIL_TAKES_ACT) &&
         weights_fit(m, op) && m->weights[op->weights].cols == cols &&
         (m->weights[op->weights].dtype == FIL_S8) == fil_is_int8(op->kind) &&
         (m->weights[op->weights].dtype == FIL_S4) == fil_is_int4(op->kind) &&
         g->channels - 1 < FIL_MAX_COLS && fil_axis_ok(g->in_h, g->out_h, g->kh, g->sh, g->dh) &&
         fil_axis_ok(g->in_w, g->out_w, g->kw, g->sw, g->dw);
}

int fil_conv_is_1x1(const fil_conv *g) {
  return (g->kh | g->kw | g->sh | g->sw | g->dh | g->dw) == 1 && !g->pad_top && !g->pad_left;
}

uint32_t fil_rows_held(uint16_t ring, uint32_t rows) { return ring ? ring : rows; }

static uint32_t less(uint32_t a, uint32_t b) { return a < b ? a : b; }

fil_stretch fil_stretch_from(const fil_conv *g, uint32_t from, uint32_t to, int x_too) {
  uint32_t out = fil_rows_held(g->out_ring, g->out_h), y = fil_rows_held(g->y_ring, g->out_h);
  uint32_t x = x_too ? fil_rows_held(g->x_ring, g->in_h) : UINT32_MAX;
  uint32_t rows = less(less(to - from, out - from % out), less(y - from % y, x - from % x));
  size_t w = g->out_w;
  return (fil_stretch){rows,         from * g->out_w, rows * g->out_w,
                       from % x * w, from % y * w,    from % out * w};
}

uint32_t fil_rows_to(const fil_run_state *s, const fil_conv *g) { return less(s->to, g->out_h); }

int fil_conv_outputs_ok(const fil_model *m, const fil_op *op) {
  const fil_conv *g = &op->p.conv;
  fil_planes p = {op->out_offset, m->weights[op->weights].rows, 0, 0};
  p.positions = fil_mul(fil_rows_held(g->out_ring, g->out_h), g->out_w);
  if (!fil_planes_own(m, op->out, p)) return 0;
  if (op->in[1] == FIL_NONE) return 1;
  p.positions = fil_mul(fil_rows_held(g->y_ring, g->out_h), g->out_w);
  p.base = op->y_offset;
  p.pitch = m->tensors[op->in[1]].pitch;
  return fil_planes_inside(m, op->in[1], p);
}

uint64_t fil_matrix_work(const fil_weights *w, uint32_t positions, uint32_t panel_cols) {
  uint32_t stored = w->blocks * w->block_rows + w->rows; /* caps: below 2^29 */
  return fil_work(stored + panel_cols, positions, 1, 1);
}

uint64_t fil_wide_scratch(const fil_op *op, const fil_weights *w, uint8_t activations) {
  uint64_t values = (uint64_t)w->blocks * w->block_rows, group = (uint64_t)w->cols * w->block_rows;
  if (w->dtype != FIL_F16 || activations == FIL_F16 || op->kind == FIL_OP_SPMV) return 0;
  uint64_t most = op->kind == FIL_OP_DWCONV || group > FIL_WIDE ? group : FIL_WIDE;
  uint64_t bytes = (values < most ? values : most) * sizeof(float);
  return (bytes + FIL_ALIGN - 1) / FIL_ALIGN * FIL_ALIGN;
}

int fil_scratch_ok(const fil_model *m, const fil_op *op, uint64_t bytes) {
  uint8_t type = m->tensors[op->out].dtype;
  uint64_t own = fil_own_scratch(op, bytes, type);
  return op->scratch_bytes >= own + fil_wide_scratch(op, &m->weights[op->weights], type);
}

/* Where a part of a band has a tensor of its own; NULL: it has none. */
static uint8_t *own_place(const fil_run_state *s, uint16_t tensor) {
  const fil_op *ops = &s->m->ops[s->band];
  if (!s->own) return 0;
  for (uint32_t k = 0; k + 1 < fil_band_ops(ops); k++)
    if (ops[k].out == tensor) return s->own + fil_band_bytes(s->m, s->band, k);
  return 0;
}

static uint8_t *place_of(const fil_run_state *s, uint16_t tensor) {
  const fil_tensor *t = &s->m->tensors[tensor];
  uint8_t *own = own_place(s, tensor);
  if (own) return own;
  switch (t->place) {
  case FIL_PLACE_INPUT: return (uint8_t *)(uintptr_t)s->inputs[t->offset];
  case FIL_PLACE_OUTPUT: return s->outputs[t->offset - s->m->input_count];
  case FIL_PLACE_CONST: return (uint8_t *)(uintptr_t)s->m->constants + t->offset;
  default: return s->arena + t->offset;
  }
}

void *fil_write(const fil_run_state *s, uint16_t tensor, uint32_t offset) {
  return fil_on(place_of(s, tensor), offset, fil_item(s->m, tensor));
}

const void *fil_read(const fil_run_state *s, uint16_t tensor, uint32_t offset) {
  return tensor == FIL_NONE ? 0 : fil_write(s, tensor, offset);
}

/* This part's scratch: a matrix of halves is widened at its start, the rest is the kernel's. */
static float *scratch_from(const fil_run_state *s, const fil_op *op, uint64_t bytes) {
  return (float *)(void *)((s->scratch ? s->scratch : s->arena + op->scratch_offset) + bytes);
}

float *fil_scratch_of(const fil_run_state *s, const fil_op *op) {
  const fil_model *m = s->m;
  uint8_t type = m->tensors[op->out].dtype;
  return scratch_from(s, op, fil_wide_scratch(op, &m->weights[op->weights], type));
}

fil_matrix fil_matrix_of(const fil_run_state *s, const fil_op *op) {
  const fil_weights *w = &s->m->weights[op->weights];
  const uint8_t *c = s->m->constants;
  const void *values = c + w->values_offset;
  int dense = w->coding == FIL_CODING_NONE;
  int single = w->dtype == FIL_F32, half = w->dtype == FIL_F16, eight = w->dtype == FIL_S8;
  int four = w->dtype == FIL_S4;
  const void *bias = c + w->bias_offset, *multipliers = c + w->multiplier_offset;
  return (fil_matrix){
      .values = single ? values : 0,
      .halves = half ? values : 0,
      .wide = scratch_from(s, op, 0),
      .quads = eight ? values : 0,
      .bias = eight ? 0 : bias,
      .sums = eight ? bias : 0,
      .multipliers = eight ? multipliers : 0,
      .nibbles = four ? values : 0,
      .scales = four ? multipliers : 0,
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

fil_span fil_take_groups(const fil_run_state *s, fil_matrix *w, float **out, size_t pitch,
                         uint32_t item, fil_epilogue *e) {
  fil_span groups = fil_share_groups(w, s->part);
  if (fil_is_empty(groups)) return groups;
  size_t row = (size_t)groups.first * w->block_rows;
  *out = fil_on(*out, row * pitch, item);
  e->residual = fil_on(e->residual, row * e->residual_pitch, item);
  fil_keep_groups(w, groups);
  return groups;
}

fil_stretches fil_stretches_of(const fil_run_state *s, const fil_conv *g, fil_matrix *w,
                               float **out, size_t pitch, uint32_t item, fil_epilogue *e) {
  fil_stretches k = {g, s->part, s->from, fil_rows_to(s, g)};
  uint32_t units = (k.to - k.row) * g->out_w / FIL_PART_LANES + 1;
  if (!fil_is_by_groups(k.part, units, w->groups)) return k;
  if (fil_is_empty(fil_take_groups(s, w, out, pitch, item, e))) k.row = k.to;
  k.part = FIL_WHOLE;
  return k;
}

int fil_next_stretch(fil_stretches *k, fil_stretch *piece, int x_too) {
  while (k->row < k->to) {
    fil_stretch p = fil_stretch_from(k->g, k->row, k->to, x_too);
    fil_span span = fil_share(k->part, p.positions, FIL_PART_LANES);
    k->row += p.rows;
    p.first += span.first, p.positions = span.end - span.first;
    p.x += span.first, p.y += span.first, p.out += span.first;
    *piece = p;
    if (p.positions) return 1;
  }
  return 0;
}
