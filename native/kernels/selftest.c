/* A few hundred microseconds that show whether an ISA's kernels, as compiled and on this processor,
 * do what the scalar ones do. All memory is on the stack (80 KiB): threads may test at once. */
#include "kernels/selftest.h"
#include "simd/scalar_math.h"

enum { ROWS = 19, COLS = 23, MOST = 2048 };

/* x16, y16, got16: x, y and got for an ISA of float16. */
typedef struct room {
  uint16_t x16[MOST], y16[MOST], got16[MOST];
  float x[MOST], y[MOST], weights[MOST], bias[64], scratch[2 * MOST], got[MOST], want[MOST];
  float wide[ROWS * COLS * 2];
  uint16_t halves[MOST], scales[64];
  union {
    uint8_t d8[512];
    uint16_t u16[512];
  } index;
  uint16_t count[32];
} room;

/* Values of a prime period, so that a vector in the wrong place cannot hide. */
static void paint(float *x, uint32_t n, uint32_t period) {
  for (uint32_t i = 0; i < n; i++) x[i] = (float)(i % period) / (float)period - 0.4f;
}

/* Of every exponent under 16, or under 1, denormals included, and both signs. */
static void paint_halves(uint16_t *x, uint32_t n, uint32_t period, int small) {
  for (uint32_t i = 0; i < n; i++)
    x[i] = (uint16_t)((i & 1) << 15 | i % period * (small ? 63 : 79));
}

static int is_f16(fil_isa isa) { return fil_isa_activations(isa) == FIL_F16; }

/* What x, painted, is close to as halves; and then x itself. */
static void round_to(uint16_t *half, float *x, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    union {
      float value;
      uint32_t bits;
    } u = {x[i]};
    uint32_t sign = u.bits >> 16 & 0x8000, magnitude = u.bits & 0x7fffffff;
    half[i] = magnitude >> 23 < 113 ? 0 : (uint16_t)(sign | ((magnitude - (112u << 23)) >> 13));
    x[i] = fil_f16(half[i]);
  }
}

/* Part of x or y, as the ISA has it. */
static const fx *given(fil_isa isa, const room *m, const fx *p) {
  if (!is_f16(isa) || !p) return p;
  if (p >= m->y && p < m->y + MOST) return (const fx *)(const void *)(m->y16 + (p - m->y));
  return (const fx *)(const void *)(m->x16 + (p - m->x));
}

static fx *made(fil_isa isa, room *m) { return is_f16(isa) ? (fx *)(void *)m->got16 : m->got; }

static int differ(fil_isa isa, const room *m) {
  float share = is_f16(isa) ? 0x1p-5f : 1e-4f;
  for (uint32_t i = 0; i < MOST; i++) {
    float a = m->got[i], b = m->want[i];
    if (a != a && b != b) continue;
    if (!(fil_absf(a - b) <= share * (1 + fil_absf(b)))) return 1;
  }
  return 0;
}

static void clear(room *m) {
  for (uint32_t i = 0; i < MOST; i++) m->got[i] = m->want[i] = 0, m->got16[i] = 0;
}

/* got, whatever the ISA made; kernels may leave anything in the padding of a plane. */
static void clear_padding(fil_isa isa, room *m, uint32_t rows, uint32_t n, uint32_t pitch) {
  if (is_f16(isa))
    for (uint32_t i = 0; i < MOST; i++) m->got[i] = fil_f16(m->got16[i]);
  for (uint32_t r = 0; r < rows; r++)
    for (uint32_t i = n; i < pitch; i++) m->got[r * pitch + i] = m->want[r * pitch + i] = 0;
}

/* What a kernel reads, as the ISA has it. */
#define READS_FLOATS(k)         ((void)(k))
#define READS_X(k)              ((k).x = given(isa, m, (k).x))
#define READS_X_AND_RESIDUAL(k) (READS_X(k), (k).e.residual = given(isa, m, (k).e.residual))
#define READS_A_AND_B(k)        ((k).a = given(isa, m, (k).a), (k).b = given(isa, m, (k).b))

/* Run a kernel both ways: bad if they differ. Planes: rows x n, pitch apart. */
#define COMPARE(kernel, args, READS, rows, n, pitch)                                               \
  do {                                                                                             \
    fil_##kernel##_args one = (args);                                                              \
    clear(m);                                                                                      \
    one.out = m->want;                                                                             \
    fil_##kernel##_by_isa[FIL_ISA_SCALAR](&one);                                                   \
    one.out = made(isa, m);                                                                        \
    READS(one);                                                                                    \
    fil_##kernel##_by_isa[isa](&one);                                                              \
    clear_padding(isa, m, rows, n, pitch);                                                         \
    bad |= differ(isa, m);                                                                         \
  } while (0)

/* The same matrix with weights of two bytes. */
static fil_matrix halved(room *m, fil_matrix w) {
  w.values = 0, w.halves = m->halves, w.wide = m->wide;
  return w;
}

/* Every second or third column, from another start in every group. */
static fil_matrix matrix(room *m, uint32_t O, fil_coding coding) {
  fil_matrix w = {.values = m->weights, .bias = m->bias, .rows = ROWS, .cols = COLS};
  w.groups = (ROWS + O - 1) / O, w.block_rows = O, w.coding = (uint8_t)coding;
  if (coding == FIL_CODING_NONE) return w;
  w.index = &m->index, w.count = m->count;
  uint32_t i = 0;
  for (uint32_t g = 0; g < w.groups; g++) {
    uint32_t last = 0, first = i;
    for (uint32_t c = g % 3; c < COLS && i - first < COLS - g; c += 2 + g % 2, i++) {
      if (coding == FIL_CODING_D8) m->index.d8[i] = (uint8_t)(c - last);
      else m->index.u16[i] = (uint16_t)c;
      last = c;
    }
    m->count[g] = (uint16_t)(i - first);
  }
  return w;
}

static fil_epilogue clamp(void) {
  return (fil_epilogue){.act = FIL_ACT_CLAMP, .lo = -0.5f, .hi = 6.0f};
}

static int spmm(fil_isa isa, room *m) {
  int bad = 0;
  for (uint32_t O = 1; O <= 16; O *= 2)
    for (uint8_t act = 0; act < FIL_ACT_COUNT; act++) {
      if (is_f16(isa) && act == FIL_ACT_SQRT) continue; /* of 0, but for rounding, to either side */
      fil_spmm_args a = {.w = matrix(m, O, act % 3), .x = m->x, .x_pitch = 80, .out_pitch = 80};
      a.positions = act % 4 * 16 + 5;
      a.e = (fil_epilogue){act & 4 ? m->y : 0, 80, act, 0.2f, 0.5f};
      if (!is_f16(isa)) COMPARE(spmm, a, READS_X_AND_RESIDUAL, ROWS, a.positions, 80);
      a.w = halved(m, a.w);
      COMPARE(spmm, a, READS_X_AND_RESIDUAL, ROWS, a.positions, 80);
    }
  return bad;
}

static int spmv(fil_isa isa, room *m) {
  int bad = 0;
  for (uint32_t O = 1; O <= 16; O *= 2)
    for (int coding = 0; coding <= FIL_CODING_U16; coding++) {
      fil_spmv_args a = {.w = matrix(m, O, (fil_coding)coding), .x = m->x};
      a.e = (fil_epilogue){m->y, 0, FIL_ACT_CLAMP, -0.5f, 6.0f};
      COMPARE(spmv, a, READS_X_AND_RESIDUAL, 1, ROWS, ROWS);
      a.w = halved(m, a.w);
      COMPARE(spmv, a, READS_X_AND_RESIDUAL, 1, ROWS, ROWS);
    }
  return bad;
}

/* The same matrix with weights of int4: nibbles and scales are halves' bits. */
static fil_matrix nibbled(const room *m, fil_matrix w) {
  w.values = 0, w.nibbles = (const uint8_t *)m->halves, w.scales = m->scales;
  return w;
}

static int spmm4(fil_isa isa, room *m) {
  int bad = 0;
  for (uint32_t O = 1; O <= 16; O *= 2)
    for (uint32_t i = 0; i < 6; i++) {
      fil_spmm4_args a = {.w = nibbled(m, matrix(m, O, i % 3)), .x = m->x};
      a.x_pitch = a.out_pitch = 80, a.positions = i % 4 * 16 + 5;
      a.e = clamp();
      if (i & 1) a.e.residual = m->y, a.e.residual_pitch = 80;
      COMPARE(spmm4, a, READS_X_AND_RESIDUAL, ROWS, a.positions, 80);
    }
  return bad;
}

static int spmv4(fil_isa isa, room *m) {
  int bad = 0;
  for (uint32_t O = 1; O <= 16; O *= 2)
    for (int coding = 0; coding <= FIL_CODING_U16; coding++) {
      fil_spmv4_args a = {.w = nibbled(m, matrix(m, O, (fil_coding)coding)), .x = m->x};
      a.e = clamp();
      a.e.residual = m->y;
      COMPARE(spmv4, a, READS_X_AND_RESIDUAL, 1, ROWS, ROWS);
    }
  return bad;
}

static uint32_t outs(uint32_t in, uint32_t k, uint32_t stride) { return (in + 2 - k) / stride + 1; }

static fil_conv geometry(uint32_t w, uint32_t h, uint16_t k, uint16_t stride) {
  fil_conv g = {.in_h = h, .in_w = w, .out_h = outs(h, k, stride), .out_w = outs(w, k, stride)};
  g.channels = 2, g.cs = 256, g.ys = w, g.xs = 1;
  g.kh = g.kw = k, g.sh = g.sw = stride, g.dh = g.dw = g.pad_top = g.pad_left = 1;
  return g;
}

static int conv(fil_isa isa, room *m) {
  int bad = 0;
  for (uint16_t stride = 1; stride <= 3; stride++) {
    fil_conv g = geometry(19, 4, 3, stride);
    fil_conv_args a = {.w = matrix(m, 4, FIL_CODING_NONE), .x = m->x, .panel = m->scratch, .g = &g};
    a.w.cols = 18, a.e = clamp(), a.out_pitch = 96;
    a.positions = g.out_h * g.out_w, a.ring = g.in_h;
    if (!is_f16(isa)) COMPARE(conv, a, READS_X, ROWS, g.out_h * g.out_w, 96);
    a.w = halved(m, a.w);
    COMPARE(conv, a, READS_X, ROWS, g.out_h * g.out_w, 96);
  }
  return bad;
}

static int dwconv(fil_isa isa, room *m) {
  int bad = 0;
  for (uint16_t k = 2; k <= 5; k++)
    for (uint16_t stride = 1; stride <= 3; stride++) {
      fil_conv g = geometry(19, 9, k, stride);
      fil_dwconv_args a = {.x = m->x, .scratch = m->scratch, .g = &g, .x_pitch = 256};
      a.w = (fil_matrix){.values = m->weights, .bias = m->bias, .rows = 2, .block_rows = 1};
      a.w.cols = (uint32_t)k * k, a.rows = g.out_h, a.ring = g.in_h;
      a.out_pitch = 256, a.e = clamp();
      if (!is_f16(isa)) COMPARE(dwconv, a, READS_X, 2, g.out_h * g.out_w, 256);
      a.w = halved(m, a.w);
      COMPARE(dwconv, a, READS_X, 2, g.out_h * g.out_w, 256);
    }
  return bad;
}

static int pixels(fil_isa isa, room *m) {
  int bad = 0;
  for (uint32_t channels = 2; channels <= 4; channels++)
    for (int bytes = 0; bytes < 2; bytes++) {
      fil_conv g = {.channels = channels, .in_h = 4, .in_w = 27, .cs = 1, .xs = channels};
      g.ys = g.in_w * channels + 1 - (uint32_t)bytes;
      fil_pixels_args a = {.floats = bytes ? 0 : m->x, .scale = m->y, .shift = m->y + 4, .g = &g};
      a.bytes = bytes ? (const uint8_t *)m->halves : 0;
      a.out_pitch = 256, a.first = 5, a.positions = 3 * 27;
      COMPARE(pixels, a, READS_FLOATS, channels, 3 * 27, 256);
    }
  return bad;
}

static int pool(fil_isa isa, room *m) {
  int bad = 0;
  for (uint8_t mode = 0; mode <= FIL_POOL_AVG_PAD; mode++)
    for (uint16_t stride = 1; stride <= 3; stride++) {
      fil_pool g = {.channels = 2, .in_h = 9, .in_w = 27, .kh = 3, .kw = 3, .mode = mode};
      g.out_h = outs(9, 3, stride), g.out_w = outs(27, 3, stride);
      g.sh = g.sw = stride, g.dh = g.dw = 1;
      g.pad_top = g.pad_left = g.pad_bottom = g.pad_right = 1;
      fil_pool_args a = {.x = m->x, .g = &g, .x_pitch = 256, .out_pitch = 256, .e = clamp()};
      COMPARE(pool, a, READS_X, 2, g.out_h * g.out_w, 256);
    }
  return bad;
}

static int map(fil_isa isa, room *m) {
  int bad = 0;
  for (uint8_t fn = 0; fn < FIL_MAP_FILL; fn++) {
    fil_map along = {{1, 5, 7, 37}, {0, 259, 37, 1}, {0, 0, 1, 0}, {0, 259, 37, 1}};
    fil_map across = {{1, 1, 5, 37}, {0, 0, 37, 1}, {0, 0, 37, 1}, {0, 0, 1, 5}};
    fil_map_args a = {.a = m->x, .b = m->y, .g = &along, .fn = fn, .e = clamp()};
    COMPARE(map, a, READS_A_AND_B, 1, MOST, MOST);
    a.g = &across;
    COMPARE(map, a, READS_A_AND_B, 1, MOST, MOST);
  }
  fil_map all = {{1, 1, 1, 37}, {0}, {0}, {0, 0, 0, 1}};
  fil_map_args a = {.g = &all, .fn = FIL_MAP_FILL, .e = {.lo = 3}};
  COMPARE(map, a, READS_A_AND_B, 1, MOST, MOST);
  return bad;
}

static int reduce(fil_isa isa, room *m) {
  int bad = 0;
  for (uint8_t fn = 0; fn <= FIL_REDUCE_MAX; fn++) {
    fil_reduce rows = {5, 133, 1, 133, 1, 1, 1, 1, fn, {0}};
    fil_reduce columns = {3, 5, 21, 105, 21, 1, 21, 1, fn, {0}};
    fil_reduce_args a = {.x = m->x, .g = &rows, .e = clamp()};
    COMPARE(reduce, a, READS_X, 1, MOST, MOST);
    a.g = &columns;
    COMPARE(reduce, a, READS_X, 1, MOST, MOST);
  }
  return bad;
}

static int softmax(fil_isa isa, room *m) {
  fil_softmax rows = {5, 37, 1, 37, 1, 1}, columns = {3, 5, 21, 105, 21, 1};
  fil_softmax_args a = {.x = m->x, .g = &rows};
  int bad = 0;
  COMPARE(softmax, a, READS_X, 1, MOST, MOST);
  a.g = &columns;
  COMPARE(softmax, a, READS_X, 1, MOST, MOST);
  return bad;
}

static int matmul(fil_isa isa, room *m) {
  int bad = 0;
  for (uint32_t n = 3; n < 150; n += 47) {
    fil_matmul g = {2, 5, n, 7, 35, 7, 1, 7 * n, n, 5 * n, n};
    fil_matmul_args a = {.a = m->x, .b = m->y, .g = &g, .e = clamp()};
    COMPARE(matmul, a, READS_A_AND_B, 1, MOST, MOST);
  }
  return bad;
}

__attribute__((noinline)) static int floats(fil_isa isa) {
  room m;
  paint(m.x, MOST, 251);
  paint(m.y, MOST, 241);
  paint(m.weights, MOST, 239);
  paint(m.bias, 64, 61);
  paint_halves(m.halves, MOST, 239, is_f16(isa));
  paint_halves(m.scales, 64, 61, 1);
  if (is_f16(isa)) round_to(m.x16, m.x, MOST), round_to(m.y16, m.y, MOST);
  int bad = 0;
#define X(name) bad |= !fil_##name##_by_isa[isa] || name(isa, &m);
#include "kernels/kernel.def"
#undef X
  if (is_f16(isa)) return bad;
#define X(name) bad |= !fil_##name##_by_isa[isa] || name(isa, &m);
#include "kernels/int4.def"
#undef X
  return bad;
}

int fil_isa_selftest(fil_isa isa) { return floats(isa) | fil_q8_selftest(isa); }
