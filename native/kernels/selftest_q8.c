/* The int8 part of the self-test: the same integers as the scalar kernels. */
#include "kernels/q8.h"
#include "kernels/selftest.h"

enum { ROWS = 19, COLS = 23, PITCH = 80, MOST = 2048 };

typedef struct room {
  int8_t x[MOST], y[MOST], quads[4 * MOST], scratch[8 * MOST], got[MOST], want[MOST];
  int32_t sums[32];
  float multipliers[32], floats[512];
  uint8_t d8[16 * COLS * 4];
  uint16_t count[32];
} room;

static void paint(int8_t *x, uint32_t n, uint32_t period) {
  for (uint32_t i = 0; i < n; i++) x[i] = (int8_t)(i % period + i / period * 7);
}

static int differ(const room *m, uint32_t rows, uint32_t n, uint32_t pitch) {
  for (uint32_t r = 0; r < rows; r++)
    for (uint32_t i = 0; i < n; i++)
      if (m->got[r * pitch + i] != m->want[r * pitch + i]) return 1;
  return 0;
}

/* Run a kernel both ways: 1 if they differ. */
#define DIFFER(kernel, args, rows, n, pitch)                                                       \
  ((args).out = m->want, fil_##kernel##_by_isa[FIL_ISA_SCALAR](&(args)), (args).out = m->got,      \
   fil_##kernel##_by_isa[isa](&(args)), differ(m, rows, n, pitch))

static fil_rescale rescale(void) {
  return (fil_rescale){
      .zero = -7, .lo = -120, .hi = 99, .residual_zero = 3, .residual_scale = 0.3f};
}

/* Weights of the last quad of each group, past its last index, are zero. */
static void end_quads(room *m, const fil_matrix *w) {
  int8_t *at = m->quads;
  paint(at, 4 * MOST, 239);
  for (uint32_t g = 0; g < w->groups; g++) {
    uint32_t blocks = w->count ? w->count[g] : w->cols, O = w->block_rows;
    at += (size_t)fil_quads(blocks) * O * FIL_QUAD;
    for (uint32_t i = 0; i < O * FIL_QUAD && blocks % FIL_QUAD; i++)
      if (i % FIL_QUAD >= blocks % FIL_QUAD) at[(int32_t)i - (int32_t)(O * FIL_QUAD)] = 0;
  }
}

/* Every second or third column, from another start in every group. */
static fil_matrix matrix(room *m, uint32_t O, fil_coding coding) {
  fil_matrix w = {.quads = m->quads, .sums = m->sums, .multipliers = m->multipliers};
  w.rows = ROWS, w.cols = COLS, w.groups = (ROWS + O - 1) / O, w.block_rows = O;
  w.coding = (uint8_t)coding;
  if (coding == FIL_CODING_NONE) {
    end_quads(m, &w);
    return w;
  }
  w.index = m->d8, w.count = m->count;
  uint32_t i = 0;
  for (uint32_t g = 0; g < w.groups; g++) {
    uint32_t last = 0, first = i;
    for (uint32_t c = g % 3; c < COLS && i - first < COLS - g; last = c, c += 2 + g % 2)
      m->d8[i++] = (uint8_t)(c - last);
    m->count[g] = (uint16_t)(i - first);
  }
  end_quads(m, &w);
  return w;
}

static int qspmm(fil_isa isa, room *m) {
  int bad = 0;
  for (uint32_t O = 1; O <= 16; O *= 2)
    for (uint32_t i = 0; i < 4; i++) {
      fil_qspmm_args a = {.w = matrix(m, O, i % 2 ? FIL_CODING_D8 : FIL_CODING_NONE), .x = m->x};
      a.x_pitch = a.out_pitch = a.residual_pitch = PITCH, a.positions = i * 20 + 5, a.q = rescale();
      a.residual = i & 2 ? m->y : 0;
      bad |= DIFFER(qspmm, a, ROWS, a.positions, PITCH);
    }
  return bad;
}

static int qspmv(fil_isa isa, room *m) {
  int bad = 0;
  for (uint32_t O = 1; O <= 16; O *= 2) {
    fil_qspmv_args a = {.w = matrix(m, O, FIL_CODING_D8), .x = m->x, .residual = m->y};
    a.q = rescale();
    bad |= DIFFER(qspmv, a, 1, ROWS, ROWS);
  }
  return bad;
}

static fil_conv geometry(uint16_t k, uint16_t stride) {
  fil_conv g = {.channels = 2, .in_h = 9, .in_w = 19, .cs = 176, .ys = 19, .xs = 1};
  g.out_h = (9u + 2u - k) / stride + 1u, g.out_w = (19u + 2u - k) / stride + 1u;
  g.kh = g.kw = k, g.sh = g.sw = stride, g.dh = g.dw = g.pad_top = g.pad_left = 1;
  return g;
}

static int qconv(fil_isa isa, room *m) {
  int bad = 0;
  for (uint16_t stride = 2; stride <= 3; stride++) {
    fil_conv g = geometry(3, stride);
    fil_qconv_args a = {
        .w = matrix(m, 4, FIL_CODING_NONE), .x = m->x, .panel = m->scratch, .g = &g};
    a.w.cols = 18, a.out_pitch = PITCH, a.positions = g.out_h * g.out_w, a.ring = g.in_h;
    a.x_zero = 11, a.q = rescale();
    end_quads(m, &a.w);
    bad |= DIFFER(qconv, a, ROWS, a.positions, PITCH);
  }
  return bad;
}

static int qdwconv(fil_isa isa, room *m) {
  int bad = 0;
  for (uint16_t k = 2; k <= 5; k++)
    for (uint16_t stride = 1; stride <= 3; stride++) {
      fil_conv g = geometry(k, stride);
      fil_qdwconv_args a = {.x = m->x, .scratch = m->scratch, .g = &g, .x_pitch = 176};
      a.w = matrix(m, 1, FIL_CODING_NONE), a.w.rows = a.w.groups = 2, a.w.cols = (uint32_t)k * k;
      a.rows = g.out_h, a.ring = g.in_h, a.out_pitch = 224, a.x_zero = 11, a.q = rescale();
      bad |= DIFFER(qdwconv, a, 2, g.out_h * g.out_w, 224);
    }
  return bad;
}

static int qpool(fil_isa isa, room *m) {
  int bad = 0;
  for (uint8_t mode = 0; mode <= FIL_POOL_AVG_PAD; mode++) {
    fil_pool g = {.channels = 2, .in_h = 9, .in_w = 19, .kh = 3, .kw = 3, .sh = 2, .sw = 2};
    g.out_h = 5, g.out_w = 10, g.dh = g.dw = g.pad_top = g.pad_left = 1, g.mode = mode;
    g.pad_bottom = g.pad_right = 1;
    fil_qpool_args a = {.x = m->x, .g = &g, .x_pitch = 176, .out_pitch = 64, .multiplier = 0.7f};
    a.x_zero = 11, a.q = rescale();
    bad |= DIFFER(qpool, a, 2, 50, 64);
  }
  return bad;
}

static int qmap(fil_isa isa, room *m) {
  int bad = 0;
  for (uint8_t fn = 0; fn < FIL_QMAP_COUNT; fn++) {
    fil_map along = {{1, 3, 7, 37}, {0, 259, 37, 1}, {0, 0, 1, 0}, {0, 259, 37, 1}};
    fil_map across = {{1, 1, 5, 37}, {0, 0, 37, 1}, {0, 0, 37, 1}, {0, 0, 1, 5}};
    int wide = fn == FIL_QMAP_QUANTIZE || fn == FIL_QMAP_DEQUANTIZE;
    fil_qmap_args a = {.a = wide ? (const void *)m->floats : m->x, .b = m->y, .fn = fn};
    a.a_scale = 0.011f, a.b_scale = 0.6f, a.a_zero = 5, a.b_zero = -9, a.q = rescale();
    a.g = wide ? &across : &along;
    bad |= DIFFER(qmap, a, 1, wide ? 185 : 777, MOST);
  }
  return bad;
}

static int qreduce(fil_isa isa, room *m) {
  int bad = 0;
  for (uint8_t fn = 0; fn <= FIL_REDUCE_MAX; fn++) {
    fil_reduce g = {5, 133, 3, 399, 3, 1, 3, 1, fn, {0}};
    fil_qreduce_args a = {.x = m->x, .g = &g, .x_zero = 11, .multiplier = 0.01f, .q = rescale()};
    bad |= DIFFER(qreduce, a, 1, 15, MOST);
  }
  return bad;
}

static int qsoftmax(fil_isa isa, room *m) {
  fil_softmax g = {3, 5, 21, 105, 21, 1};
  fil_qsoftmax_args a = {.x = m->x, .g = &g, .powers = m->floats, .scale = 0.004f};
  a.q = rescale();
  return DIFFER(qsoftmax, a, 1, 315, MOST);
}

int fil_q8_selftest(fil_isa isa) {
  room m = {.got = {0}};
  paint(m.x, MOST, 251);
  paint(m.y, MOST, 241);
  for (int i = 0; i < 32; i++)
    m.sums[i] = i * 531 - 9000, m.multipliers[i] = 0.0003f * (float)(i + 1);
  for (int i = 0; i < 512; i++) m.floats[i] = (float)(i % 61 + 1) / 61.0f;
  int bad = 0;
#define X(name) bad |= !fil_##name##_by_isa[isa] || name(isa, &m);
#include "kernels/q8.def"
#undef X
  return bad;
}
