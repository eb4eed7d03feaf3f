#include "runtime/band.h"
#include "runtime/checked.h"

static int has_rows(const fil_op *op) {
  switch (op->kind) {
  case FIL_OP_SPMM:
  case FIL_OP_SPMM4:
  case FIL_OP_CONV:
  case FIL_OP_DWCONV:
  case FIL_OP_PIXELS:
  case FIL_OP_QSPMM:
  case FIL_OP_QCONV:
  case FIL_OP_QDWCONV: return 1;
  default: return 0;
  }
}

uint32_t fil_band_ops(const fil_op *op) {
  return has_rows(op) && op->p.conv.band_ops ? op->p.conv.band_ops : 1;
}

static int takes_rings(const fil_op *op) {
  return has_rows(op) || op->kind == FIL_OP_SPMV || op->kind == FIL_OP_SPMV4 ||
         op->kind == FIL_OP_QSPMV;
}

static int ring_ok(uint16_t ring, uint32_t rows, uint32_t width, uint32_t lanes) {
  return !ring || (ring < rows && fil_mul(ring, width) % lanes == 0);
}

uint32_t fil_band_first(const fil_op *ops, uint32_t i) {
  for (uint32_t k = 1; k < FIL_MAX_BAND && k <= i; k++)
    if (fil_band_ops(&ops[i - k]) > k) return i - k;
  return i;
}

/* The first of a band: what follows belongs to it and starts none. */
static int members_ok(const fil_model *m, uint32_t i) {
  uint32_t n = m->ops[i].p.conv.band_ops;
  if (n < 2 || n > FIL_MAX_BAND || n > m->op_count - i || !m->ops[i].p.conv.band_rows) return 0;
  for (uint32_t k = 1; k < n; k++)
    if (!has_rows(&m->ops[i + k]) || m->ops[i + k].p.conv.band_ops) return 0;
  return 1;
}

int fil_band_ok(const fil_model *m, uint32_t i) {
  const fil_op *op = &m->ops[i];
  const fil_conv *g = &op->p.conv;
  if (!takes_rings(op)) return 1;
  if (g->reserved || (g->band_rows && !g->band_ops)) return 0;
  if (g->band_ops && !(has_rows(op) && members_ok(m, i))) return 0;
  uint32_t first = fil_band_first(m->ops, i);
  int alone = first == i && !g->band_ops;
  if (alone) return !(g->x_ring | g->y_ring | g->out_ring);
  if (g->y_ring && op->in[1] == FIL_NONE) return 0;
  return ring_ok(g->x_ring, g->in_h, g->in_w, m->lanes) &&
         ring_ok(g->y_ring, g->out_h, g->out_w, m->lanes) &&
         ring_ok(g->out_ring, g->out_h, g->out_w, m->lanes);
}

fil_band fil_band_start(const fil_op *ops, uint32_t count) {
  return (fil_band){.ops = ops, .count = count};
}

/* `rows`, or so many more that they end where a vector does; at most all. */
static uint32_t whole_vectors(const fil_conv *g, uint32_t rows, uint32_t lanes) {
  while (rows < g->out_h && rows * g->out_w % lanes) rows++;
  return rows < g->out_h ? rows : g->out_h;
}

/* How many input rows the first `rows` output rows read. */
static uint32_t rows_read(const fil_conv *g, uint32_t rows) {
  int64_t last = ((int64_t)rows - 1) * g->sh + (int64_t)(g->kh - 1) * g->dh - g->pad_top;
  if (last < 0) return 0;
  return last < g->in_h ? (uint32_t)last + 1 : g->in_h;
}

static void need(fil_band *b, uint32_t before, uint16_t tensor, uint32_t rows) {
  for (uint32_t k = 0; k < before; k++)
    if (b->ops[k].out == tensor && b->to[k] < rows) b->to[k] = rows;
}

void fil_band_next(fil_band *b, uint32_t lanes) {
  uint32_t last = b->count - 1;
  for (uint32_t k = 0; k <= last; k++) b->from[k] = b->to[k] > b->least[k] ? b->to[k] : b->least[k];
  b->to[last] += b->ops[0].p.conv.band_rows;
  int ends = b->to[last] >= b->ops[last].p.conv.out_h;
  for (uint32_t k = last + 1; k-- > 0;) {
    const fil_op *op = &b->ops[k];
    const fil_conv *g = &op->p.conv;
    b->to[k] = ends ? g->out_h : whole_vectors(g, b->to[k], lanes);
    need(b, k, op->in[0], rows_read(g, b->to[k]));
    if (op->in[1] != FIL_NONE) need(b, k, op->in[1], b->to[k]);
  }
}

int fil_band_done(const fil_band *b) {
  uint32_t last = b->count - 1;
  return b->to[last] >= b->ops[last].p.conv.out_h;
}

/* --- parts --- */

static uint32_t last_of(const fil_model *m, uint32_t first) {
  return first + fil_band_ops(&m->ops[first]) - 1;
}

int fil_band_divides(const fil_model *m, uint32_t first) {
  uint32_t last = last_of(m, first);
  for (uint32_t i = first; i < last; i++) {
    const fil_tensor *t = &m->tensors[m->ops[i].out];
    if (t->place != FIL_PLACE_ARENA || t->first_op != first || t->last_op != last) return 0;
  }
  return last > first;
}

uint32_t fil_band_steps(const fil_model *m, uint32_t first) {
  fil_band b = fil_band_start(&m->ops[first], fil_band_ops(&m->ops[first]));
  uint32_t steps = 0;
  do {
    fil_band_next(&b, m->lanes);
    steps++;
  } while (!fil_band_done(&b));
  return steps;
}

/* The first input row that output rows from `row` on read. */
static uint32_t first_read(const fil_conv *g, uint32_t row) {
  uint32_t y = row * g->sh;
  return y > g->pad_top ? y - g->pad_top : 0;
}

static void least_for(fil_band *b, uint32_t before, uint16_t tensor, uint32_t row) {
  for (uint32_t k = 0; k < before; k++)
    if (b->ops[k].out == tensor && b->least[k] > row) b->least[k] = row;
}

fil_band fil_band_after(const fil_model *m, uint32_t first, uint32_t steps) {
  uint32_t count = fil_band_ops(&m->ops[first]);
  fil_band b = fil_band_start(&m->ops[first], count);
  for (uint32_t i = 0; i < steps; i++) fil_band_next(&b, m->lanes);
  for (uint32_t k = 0; k < count; k++) b.least[k] = b.to[k];
  for (uint32_t k = count; k-- > 0;) {
    const fil_op *op = &b.ops[k];
    while (b.least[k] * op->p.conv.out_w % m->lanes) b.least[k]--;
    least_for(&b, k, op->in[0], first_read(&op->p.conv, b.least[k]));
    if (op->in[1] != FIL_NONE) least_for(&b, k, op->in[1], b.least[k]);
  }
  for (uint32_t k = 0; k < count; k++) b.from[k] = b.to[k] = 0;
  return b;
}

uint64_t fil_band_bytes(const fil_model *m, uint32_t first, uint32_t end) {
  uint64_t bytes = 0;
  for (uint32_t k = 0; k < end; k++)
    bytes += (m->tensors[m->ops[first + k].out].bytes + FIL_ALIGN - 1) / FIL_ALIGN * FIL_ALIGN;
  return bytes;
}
