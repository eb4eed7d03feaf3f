#include "runtime/checked.h"
#include "runtime/registry.h"

/* A window of one element that moves by one: what other convolutions have is not used. */
static int has_no_window(const fil_conv *g) {
  return fil_conv_is_1x1(g) && g->in_h == g->out_h && g->in_w == g->out_w && !g->x_ring &&
         !g->y_ring;
}

static int types_ok(const fil_model *m, const fil_op *op) {
  uint8_t x = m->tensors[op->in[0]].dtype;
  return (x == FIL_U8 || x == FIL_F32) && m->tensors[op->in[1]].dtype == FIL_F32 &&
         m->tensors[op->out].dtype != FIL_U8;
}

fil_status fil_pixels_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  const fil_conv *g = &op->p.conv;
  if (!fil_op_takes(op, FIL_TAKES_X | FIL_NEEDS_Y) || !types_ok(m, op)) return FIL_E_OP;
  if (!has_no_window(g) || g->channels - 1 >= FIL_MAX_COLS) return FIL_E_OP;
  if (!fil_axis_ok(g->in_h, g->out_h, 1, 1, 1) || !fil_axis_ok(g->in_w, g->out_w, 1, 1, 1))
    return FIL_E_OP;
  *work = fil_work(g->channels, g->out_h, g->out_w, 1);
  uint32_t last = fil_reach(op->x_offset, g->channels, g->cs);
  last = fil_reach(fil_reach(last, g->in_h, g->ys), g->in_w, g->xs);
  fil_planes out = {op->out_offset, g->channels, 0, 0};
  out.positions = fil_mul(fil_rows_held(g->out_ring, g->out_h), g->out_w);
  if (!fil_inside(m, op->in[0], last) || !fil_planes_own(m, op->out, out)) return FIL_E_BOUNDS;
  return fil_inside(m, op->in[1], fil_reach(op->y_offset, 2 * g->channels, 1)) ? FIL_OK
                                                                               : FIL_E_BOUNDS;
}

void fil_pixels_run(const fil_run_state *s, const fil_op *op) {
  const fil_conv *g = &op->p.conv;
  const void *x = fil_read(s, op->in[0], op->x_offset);
  int bytes = s->m->tensors[op->in[0]].dtype == FIL_U8;
  const float *affine = fil_read(s, op->in[1], op->y_offset);
  fil_pixels_args a = {
      .floats = bytes ? 0 : x,
      .bytes = bytes ? x : 0,
      .scale = affine,
      .shift = affine + g->channels,
      .g = g,
      .out_pitch = s->m->tensors[op->out].pitch,
  };
  void *out = fil_write(s, op->out, op->out_offset);
  uint32_t item = fil_item(s->m, op->out);
  fil_stretches k = {g, s->part, s->from, fil_rows_to(s, g)};
  for (fil_stretch piece; fil_next_stretch(&k, &piece, 0);) {
    a.out = fil_on(out, piece.out, item);
    a.first = piece.first, a.positions = piece.positions;
    fil_pixels_by_isa[fil_isa_of(s->m, op)](&a);
  }
}
