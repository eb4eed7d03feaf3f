/* shapes ISA FIRST COUNT: random int8 kernel calls FIRST to FIRST + COUNT - 1 on an instruction
 * set, against plain integer loops here and roundings in double. Every buffer lies between two
 * pages that nobody may touch, flush with one or the other by turns (WebAssembly: one buffer at a
 * time, with the end of memory). Exit code 0: all agree; else the first call that does not is
 * named. */
#define _GNU_SOURCE
#include "kernels/q8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if !defined(__wasm__)
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

enum { ROOM = 1 << 20, UNTOUCHED = -99 };

enum { X, RESIDUAL, QUADS, SUMS, MULTIPLIERS, INDEX, COUNT, SCRATCH, OUT, POWERS, A, B, PLACES };

static uint8_t *rooms[PLACES];
static uint64_t state;
static unsigned long number; /* of the call */
static const char *kernel = "";
static fil_isa isa;

static uint32_t draw(uint32_t below) {
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return (uint32_t)((z ^ z >> 31) >> 32) % below;
}
static uint32_t between(uint32_t least, uint32_t most) { return least + draw(most - least + 1); }
static int chance(uint32_t one_in) { return draw(one_in) == 0; }
static int8_t byte_drawn(void) { return (int8_t)(draw(256) - 128u); }
static float unit(void) { return (float)draw(1 << 20) / (float)(1 << 20); }
static uint32_t up(uint32_t n, uint32_t step) { return (n + step - 1) / step * step; }

static void fail(const char *why, long at) {
  printf("%s on %s, call %lu: %s %ld\n", kernel, fil_isa_name(isa), number, why, at);
  exit(1);
}

#if defined(__wasm__)
static uint8_t *last;
static void rooms_make(void) {
  last = (uint8_t *)(__builtin_wasm_memory_grow(0, ROOM >> 16) << 16);
  for (int i = 0; i < PLACES; i++) rooms[i] = malloc(ROOM);
}
static void *place(int id, size_t bytes) {
  int at_end = id == (int)(number % PLACES);
  if (bytes > ROOM) abort();
  return (at_end ? last : rooms[id]) + ROOM - bytes;
}
#else
static const char *const names[PLACES] = {"x",           "residual", "quads", "sums",
                                          "multipliers", "index",    "count", "scratch",
                                          "out",         "powers",   "a",     "b"};

static void on_fault(int signal, siginfo_t *info, void *context) {
  const uint8_t *p = info->si_addr;
  (void)signal, (void)context;
  for (int i = 0; i < PLACES; i++)
    if (p >= rooms[i] - ROOM && p < rooms[i] + 2 * ROOM) {
      printf("touches memory outside of %s\n", names[i]);
      fail("fault at", (long)(p - rooms[i]));
    }
  fail("fault", 0);
}
static void rooms_make(void) {
  struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &ours, 0);
  sigaction(SIGBUS, &ours, 0);
  for (int i = 0; i < PLACES; i++) {
    uint8_t *all = mmap(0, 3 * ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + ROOM, ROOM, PROT_READ | PROT_WRITE)) exit(2);
    rooms[i] = all + ROOM;
  }
}
static void *place(int id, size_t bytes) {
  if (bytes > ROOM) abort();
  return rooms[id] + (number % 2 ? ROOM - bytes : 0);
}
#endif

static int8_t *bytes_drawn(int id, size_t n) {
  int8_t *x = place(id, n);
  for (size_t i = 0; i < n; i++) x[i] = byte_drawn();
  return x;
}

static int8_t *untouched(size_t n) {
  int8_t *out = place(OUT, n);
  memset(out, UNTOUCHED, n);
  return out;
}

/* Bytes that a kernel may see of planes: nothing after the last one's padding. */
static size_t seen(uint32_t planes, uint32_t pitch, uint32_t n, uint32_t step) {
  return (size_t)(planes - 1) * pitch + up(n, step);
}

static fil_rescale rescale(void) {
  fil_rescale q = {.zero = byte_drawn(), .lo = -128, .hi = 127, .residual_zero = byte_drawn()};
  if (chance(2)) q.lo = byte_drawn(), q.hi = (int32_t)between(0, (uint32_t)(127 - q.lo)) + q.lo;
  q.residual_scale = 2 * unit();
  return q;
}

/* What float32 makes of x, which is exact in double or rounds there without changing this. */
static double f32(double x) {
  volatile float rounded = (float)x;
  return rounded;
}

static int rounded(double x, const fil_rescale *q) {
  x = fmin(fmax(x, q->lo - q->zero), q->hi - q->zero);
  return (int)nearbyint(x) + q->zero;
}

static int kept(int x, const fil_rescale *q) { return x < q->lo ? q->lo : x > q->hi ? q->hi : x; }

static int requantized(int64_t sum, float multiplier, const int8_t *residual,
                       const fil_rescale *q) {
  double x = f32(f32((double)sum) * (double)multiplier);
  if (residual) x = f32(x + f32(f32(*residual - q->residual_zero) * (double)q->residual_scale));
  return rounded(x, q);
}

/* Weights [rows][cols], where not stored 0, are also written to dense. */
static int8_t dense[64 * 1024];

static fil_matrix matrix(uint32_t rows, uint32_t cols, uint32_t O, fil_coding coding) {
  fil_matrix w = {.rows = rows, .cols = cols, .groups = (rows + O - 1) / O, .block_rows = O};
  uint32_t keep = between(1, 10), total = 0, blocks = 0;
  static uint8_t stored[64][1024];
  uint16_t counts[64];
  w.coding = (uint8_t)coding;
  for (uint32_t g = 0; g < w.groups; g++) {
    counts[g] = 0;
    for (uint32_t c = 0; c < cols; c++) {
      stored[g][c] = coding == FIL_CODING_NONE || draw(10) < keep;
      counts[g] = (uint16_t)(counts[g] + stored[g][c]);
    }
    total += up(counts[g], FIL_QUAD) * O;
    blocks += counts[g];
  }
  int8_t *quads = place(QUADS, total);
  memset(quads, 0, total);
  memset(dense, 0, (size_t)rows * cols);
  w.quads = quads;
  uint8_t *steps = 0;
  uint16_t *places = 0;
  if (coding == FIL_CODING_D8) w.index = steps = place(INDEX, blocks);
  if (coding == FIL_CODING_U16) w.index = places = place(INDEX, blocks * 2);
  for (uint32_t g = 0, k = 0; g < w.groups; g++) {
    uint32_t i = 0, before = 0;
    for (uint32_t c = 0; c < cols; c++) {
      if (!stored[g][c]) continue;
      for (uint32_t r = 0; r < O && g * O + r < rows; r++) {
        int8_t v = byte_drawn();
        quads[(i / FIL_QUAD * O + r) * FIL_QUAD + i % FIL_QUAD] = v;
        dense[(size_t)(g * O + r) * cols + c] = v;
      }
      if (steps) steps[k++] = (uint8_t)(c - before);
      if (places) places[k++] = (uint16_t)c;
      before = c, i++;
    }
    quads += up(i, FIL_QUAD) * O;
  }
  if (coding != FIL_CODING_NONE) {
    void *count = place(COUNT, w.groups * 2);
    memcpy(count, counts, w.groups * 2);
    w.count = count;
  }
  int32_t *sums = place(SUMS, (size_t)w.groups * O * 4);
  float *multipliers = place(MULTIPLIERS, (size_t)w.groups * O * 4);
  for (uint32_t r = 0; r < w.groups * O; r++) {
    sums[r] = (int32_t)draw(40000) - 20000;
    multipliers[r] = unit() * 0.004f + 1e-6f;
  }
  w.sums = sums, w.multipliers = multipliers;
  return w;
}

static fil_coding coding_drawn(uint32_t cols) {
  static const fil_coding all[] = {FIL_CODING_NONE, FIL_CODING_U16, FIL_CODING_D8};
  return all[draw(cols > 255 ? 2 : 3)];
}

static int64_t product(const fil_matrix *w, uint32_t r, const int8_t *x, size_t pitch) {
  int64_t sum = w->sums[r];
  for (uint32_t c = 0; c < w->cols; c++) sum += dense[(size_t)r * w->cols + c] * x[c * pitch];
  return sum;
}

/* out[r][p] must be want, and between the padding of a plane and the next plane nothing written. */
static void expect(const int8_t *out, size_t at, int want) {
  if (out[at] != want) fail("differs at", (long)at);
}
/* Element `at` of out: row r of the weights times a column of x. */
static void expect_product(const int8_t *out, size_t at, const fil_matrix *w, uint32_t r,
                           const int8_t *x, size_t pitch, const int8_t *residual,
                           const fil_rescale *q) {
  const int8_t *y = residual ? residual + at : 0;
  expect(out, at, requantized(product(w, r, x, pitch), w->multipliers[r], y, q));
}
static void gaps_untouched(const int8_t *out, uint32_t planes, uint32_t pitch, uint32_t end) {
  for (uint32_t r = 0; r + 1 < planes; r++)
    for (uint32_t p = end; p < pitch; p++)
      if (out[(size_t)r * pitch + p] != UNTOUCHED) fail("writes past the padding at", (long)p);
}

static void qspmm(void) {
  uint32_t lanes = fil_isa_lanes(isa), rows = between(1, 40), n = between(1, chance(8) ? 300 : 70);
  uint32_t cols = chance(20) ? between(256, 700) : between(1, 70);
  uint32_t step = chance(3) ? 16 : lanes, pitch = up(n, step) + draw(3) * step;
  fil_qspmm_args a = {.positions = n, .padded = step == lanes ? 0 : step, .q = rescale()};
  a.w = matrix(rows, cols, 1u << draw(5), coding_drawn(cols));
  a.x_pitch = a.out_pitch = a.residual_pitch = pitch;
  a.x = bytes_drawn(X, seen(cols, pitch, n, step));
  a.residual = chance(3) ? bytes_drawn(RESIDUAL, seen(rows, pitch, n, step)) : 0;
  a.out = untouched(seen(rows, pitch, n, step));
  fil_qspmm_by_isa[isa](&a);
  for (uint32_t r = 0; r < rows; r++)
    for (uint32_t p = 0; p < n; p++)
      expect_product(a.out, (size_t)r * pitch + p, &a.w, r, a.x + p, pitch, a.residual, &a.q);
  gaps_untouched(a.out, rows, pitch, up(n, step));
}

static void qspmv(void) {
  uint32_t rows = between(1, 40), cols = chance(4) ? between(256, 1024) : between(1, 150);
  fil_qspmv_args a = {.w = matrix(rows, cols, 1u << draw(5), coding_drawn(cols)), .q = rescale()};
  a.x = bytes_drawn(X, cols);
  a.residual = chance(2) ? bytes_drawn(RESIDUAL, rows) : 0;
  a.out = untouched(rows);
  fil_qspmv_by_isa[isa](&a);
  for (uint32_t r = 0; r < rows; r++) expect_product(a.out, r, &a.w, r, a.x, 1, a.residual, &a.q);
}

static fil_conv geometry(uint32_t channels, uint32_t lanes) {
  fil_conv g = {.channels = channels, .in_h = between(1, 12), .in_w = between(1, 40), .xs = 1};
  int usual = chance(2); /* 3x3 or 5x5, padded by half */
  g.kh = (uint16_t)(usual ? 3 + 2 * draw(2) : between(1, 5));
  g.kw = usual ? g.kh : (uint16_t)between(1, 5);
  g.sh = (uint16_t)(usual ? between(1, 2) : between(1, 3));
  g.sw = usual ? g.sh : (uint16_t)between(1, 3);
  g.dh = (uint16_t)(usual || draw(4) ? 1 : 2), g.dw = (uint16_t)(usual || draw(4) ? 1 : 2);
  g.pad_top = (uint16_t)(usual ? g.kh / 2 : draw(g.kh));
  g.pad_left = (uint16_t)(usual ? g.kw / 2 : draw(g.kw));
  int h = (int)g.in_h + 2 * g.pad_top - g.dh * (g.kh - 1) - 1;
  int w = (int)g.in_w + 2 * g.pad_left - g.dw * (g.kw - 1) - 1;
  g.out_h = h < 0 ? 1 : (uint32_t)h / g.sh + 1, g.out_w = w < 0 ? 1 : (uint32_t)w / g.sw + 1;
  g.ys = g.in_w, g.cs = up(g.in_h * g.in_w, lanes);
  return g;
}

/* What tap k of output (oy, ox) reads of a plane, whose row y lies at y % ring. */
static int tap(const fil_conv *g, const int8_t *x, uint32_t ring, int32_t zero, uint32_t k,
               uint32_t oy, uint32_t ox) {
  int y = (int)(oy * g->sh + k / g->kw * g->dh) - g->pad_top;
  int at = (int)(ox * g->sw + k % g->kw * g->dw) - g->pad_left;
  if (y < 0 || y >= (int)g->in_h || at < 0 || at >= (int)g->in_w) return zero;
  return x[(uint32_t)y % ring * g->in_w + (uint32_t)at];
}

/* Rows of a ring that hold what `rows` output rows read, and no fewer. */
static uint32_t ring_of(fil_conv *g, uint32_t rows, uint32_t lanes) {
  uint32_t need = (rows - 1) * g->sh + (g->kh - 1u) * g->dh + 1, ring = g->in_h;
  if (need < g->in_h && chance(2)) ring = between(need, g->in_h);
  g->cs = up(ring * g->in_w, lanes);
  return ring;
}

static void qconv(void) {
  uint32_t lanes = fil_isa_lanes(isa), channels = between(1, 5), rows = between(1, 20);
  fil_conv g = geometry(channels, lanes);
  uint32_t K = (uint32_t)g.kh * g.kw, cols = channels * K, all = g.out_h * g.out_w;
  fil_qconv_args a = {.g = &g, .x_zero = byte_drawn(), .q = rescale()};
  a.first = chance(2) ? 0 : draw(g.out_h) * g.out_w;
  a.positions = a.first || chance(2) ? between(1, (all - a.first) / g.out_w) * g.out_w : all;
  a.ring = ring_of(&g, a.positions / g.out_w, lanes);
  a.w = matrix(rows, cols, 1u << draw(5), coding_drawn(cols));
  uint32_t n = a.positions, pitch = up(n, lanes) + draw(2) * lanes;
  a.out_pitch = a.residual_pitch = pitch;
  a.x = bytes_drawn(X, (size_t)(channels - 1) * g.cs + a.ring * g.in_w);
  a.residual = chance(3) ? bytes_drawn(RESIDUAL, seen(rows, pitch, n, lanes)) : 0;
  a.out = untouched(seen(rows, pitch, n, lanes));
  a.panel = place(SCRATCH, fil_qconv_scratch(&g, cols));
  fil_qconv_by_isa[isa](&a);
  for (uint32_t p = 0; p < n; p++) {
    int8_t read[1024];
    for (uint32_t k = 0; k < cols; k++)
      read[k] = (int8_t)tap(&g, a.x + (size_t)(k / K) * g.cs, a.ring, a.x_zero, k % K,
                            (a.first + p) / g.out_w, (a.first + p) % g.out_w);
    for (uint32_t r = 0; r < rows; r++)
      expect_product(a.out, (size_t)r * pitch + p, &a.w, r, read, 1, a.residual, &a.q);
  }
  gaps_untouched(a.out, rows, pitch, up(n, lanes));
}

static void qdwconv(void) {
  uint32_t lanes = fil_isa_lanes(isa), planes = between(1, 6);
  fil_conv g = geometry(planes, lanes);
  uint32_t K = (uint32_t)g.kh * g.kw;
  fil_qdwconv_args a = {.g = &g, .x_zero = byte_drawn(), .q = rescale()};
  a.first = chance(2) ? 0 : draw(g.out_h);
  a.rows = a.first || chance(2) ? between(1, g.out_h - a.first) : g.out_h;
  a.ring = ring_of(&g, a.rows, lanes);
  a.w = matrix(planes, K, 1, FIL_CODING_NONE);
  uint32_t n = a.rows * g.out_w, pitch = up(n, lanes) + draw(2) * lanes;
  a.out_pitch = a.residual_pitch = pitch, a.x_pitch = g.cs;
  a.x = bytes_drawn(X, seen(planes, g.cs, a.ring * g.in_w, lanes));
  a.residual = chance(3) ? bytes_drawn(RESIDUAL, seen(planes, pitch, n, lanes)) : 0;
  a.out = untouched(seen(planes, pitch, n, lanes));
  a.scratch = place(SCRATCH, fil_qdwconv_scratch(&g));
  fil_qdwconv_by_isa[isa](&a);
  for (uint32_t r = 0; r < planes; r++)
    for (uint32_t p = 0; p < n; p++) {
      int8_t read[25];
      for (uint32_t k = 0; k < K; k++)
        read[k] = (int8_t)tap(&g, a.x + (size_t)r * g.cs, a.ring, a.x_zero, k,
                              a.first + p / g.out_w, p % g.out_w);
      expect_product(a.out, (size_t)r * pitch + p, &a.w, r, read, 1, a.residual, &a.q);
    }
  gaps_untouched(a.out, planes, pitch, up(n, lanes));
}

static void qpool(void) {
  uint32_t lanes = fil_isa_lanes(isa), planes = between(1, 5);
  fil_conv c = geometry(planes, lanes);
  fil_pool g = {planes, c.in_h, c.in_w,    c.out_h,    c.out_w,   c.kh,       c.kw, c.sh,     c.sw,
                c.dh,   c.dw,   c.pad_top, c.pad_left, c.pad_top, c.pad_left, 0,    {0, 0, 0}};
  g.mode = (uint8_t)draw(FIL_POOL_AVG_PAD + 1);
  uint32_t n = g.out_h * g.out_w, pitch = up(n, lanes);
  fil_qpool_args a = {.g = &g, .x_pitch = c.cs, .out_pitch = pitch, .x_zero = byte_drawn()};
  a.multiplier = unit() * 2, a.q = rescale();
  a.x = bytes_drawn(X, seen(planes, c.cs, g.in_h * g.in_w, lanes));
  a.out = untouched(seen(planes, pitch, n, lanes));
  fil_qpool_by_isa[isa](&a);
  for (uint32_t r = 0; r < planes; r++)
    for (uint32_t p = 0; p < n; p++) {
      int most = -1000, sum = 0, taps = 0, count = 0;
      for (uint32_t k = 0; k < (uint32_t)g.kh * g.kw; k++) {
        int y = (int)(p / g.out_w * g.sh + k / g.kw * g.dh) - g.pad_top;
        int at = (int)(p % g.out_w * g.sw + k % g.kw * g.dw) - g.pad_left;
        int padded = y < (int)g.in_h + g.pad_bottom && at < (int)g.in_w + g.pad_right;
        int v = tap(&c, a.x + (size_t)r * c.cs, g.in_h, 1000, k, p / g.out_w, p % g.out_w);
        if (v != 1000) most = v > most ? v : most, sum += v - a.x_zero, taps++;
        count += g.mode == FIL_POOL_AVG_PAD ? padded : v != 1000;
      }
      double mean = f32(f32(sum) * f32((double)a.multiplier / count));
      int want = g.mode == FIL_POOL_MAX ? kept(most, &a.q) : rounded(mean, &a.q);
      expect(a.out, (size_t)r * pitch + p, taps ? want : kept(a.q.zero, &a.q));
    }
  gaps_untouched(a.out, planes, pitch, up(n, lanes));
}

static void qreduce(void) {
  uint32_t outer = between(1, 9), reduce = between(1, 150), inner = chance(2) ? 1 : between(1, 40);
  uint32_t along = chance(2) ? 1 : inner, slack = draw(4);
  fil_reduce g = {.outer = outer, .reduce = reduce, .inner = inner};
  g.reduce_s = inner == 1 ? along : inner, g.inner_s = 1;
  g.outer_s = reduce * g.reduce_s + slack, g.outer_so = inner, g.inner_so = 1;
  g.fn = (uint8_t)draw(FIL_REDUCE_MAX + 1);
  fil_qreduce_args a = {.g = &g, .x_zero = byte_drawn(), .multiplier = unit() * 0.1f};
  a.q = rescale();
  a.x = bytes_drawn(X, (size_t)(outer - 1) * g.outer_s + (reduce - 1) * g.reduce_s + inner);
  a.out = untouched((size_t)outer * inner);
  fil_qreduce_by_isa[isa](&a);
  for (uint32_t o = 0; o < outer; o++)
    for (uint32_t i = 0; i < inner; i++) {
      int most = -1000, sum = 0;
      for (uint32_t r = 0; r < reduce; r++) {
        int v = a.x[o * g.outer_s + r * g.reduce_s + i];
        most = v > most ? v : most, sum += v - a.x_zero;
      }
      int mean = rounded(f32(f32(sum) * (double)a.multiplier), &a.q);
      expect(a.out, o * inner + i, g.fn == FIL_REDUCE_MAX ? kept(most, &a.q) : mean);
    }
}

static int mapped(const fil_qmap_args *a, int x, int y) {
  double u = f32(f32(x - a->a_zero) * (double)a->a_scale);
  double v = f32(f32(y - a->b_zero) * (double)a->b_scale);
  switch ((fil_qmap_fn)a->fn) {
  case FIL_QMAP_COPY: return kept(x, &a->q);
  case FIL_QMAP_FLIP: return (int8_t)(x ^ -128);
  case FIL_QMAP_ADD: return rounded(f32(u + v), &a->q);
  case FIL_QMAP_SUB: return rounded(f32(u - v), &a->q);
  case FIL_QMAP_MUL:
    return rounded(f32(f32((x - a->a_zero) * (y - a->b_zero)) * (double)a->a_scale), &a->q);
  default: return a->q.lo;
  }
}

/* Operands that go on, stand still along the last dimension, or change places with the others. */
static void qmap(void) {
  static const fil_qmap_fn fns[] = {FIL_QMAP_COPY, FIL_QMAP_FLIP, FIL_QMAP_ADD,
                                    FIL_QMAP_SUB,  FIL_QMAP_MUL,  FIL_QMAP_FILL};
  uint32_t h = between(1, 9), n = between(1, 150);
  int32_t across = chance(4), still = chance(3);
  fil_map g = {{1, 1, h, n}, {0, 0, (int32_t)n, 1}, {0, 0, 1, !still}, {0, 0, (int32_t)n, 1}};
  if (!still) g.sb[2] = (int32_t)n;
  if (across) g.so[2] = 1, g.so[3] = (int32_t)h;
  fil_qmap_args a = {.g = &g, .fn = (uint8_t)fns[draw(6)], .a_zero = byte_drawn()};
  a.b_zero = byte_drawn(), a.a_scale = unit() * 2, a.b_scale = unit() * 2, a.q = rescale();
  const int8_t *x = bytes_drawn(A, (size_t)h * n), *y = bytes_drawn(B, still ? h : (size_t)h * n);
  int8_t *out = untouched((size_t)h * n);
  a.a = x, a.b = y, a.out = out;
  fil_qmap_by_isa[isa](&a);
  for (uint32_t i = 0; i < h; i++)
    for (uint32_t j = 0; j < n; j++)
      expect(out, across ? j * h + i : i * n + j,
             mapped(&a, x[i * n + j], y[still ? i : i * n + j]));
}

/* float32 to int8 or back, or by a table. */
static void qmap_types(void) {
  uint32_t n = between(1, 300);
  fil_map g = {{1, 1, 1, n}, {0, 0, 0, 1}, {0, 0, 0, 0}, {0, 0, 0, 1}};
  static const fil_qmap_fn fns[] = {FIL_QMAP_QUANTIZE, FIL_QMAP_DEQUANTIZE, FIL_QMAP_TABLE};
  fil_qmap_args a = {.g = &g, .fn = (uint8_t)fns[draw(3)], .a_zero = byte_drawn()};
  a.a_scale = unit() + 0.01f, a.q = rescale();
  int8_t *x = bytes_drawn(X, n), *table = bytes_drawn(B, 256), *out = untouched(n);
  float *floats = place(A, n * 4);
  for (uint32_t i = 0; i < n; i++) floats[i] = (unit() - 0.5f) * 400;
  a.a = a.fn == FIL_QMAP_QUANTIZE ? (void *)floats : x, a.b = table;
  a.out = a.fn == FIL_QMAP_DEQUANTIZE ? (void *)floats : out;
  fil_qmap_by_isa[isa](&a);
  for (uint32_t i = 0; i < n; i++) switch (a.fn) {
    case FIL_QMAP_QUANTIZE:
      expect(out, i, rounded(f32((double)floats[i] / (double)a.a_scale), &a.q));
      break;
    case FIL_QMAP_TABLE: expect(out, i, table[x[i] + 128]); break;
    default:
      if (floats[i] != (float)f32(f32(x[i] - a.a_zero) * (double)a.a_scale))
        fail("differs at", (long)i);
    }
}

static void qsoftmax(void) {
  uint32_t outer = between(1, 6), n = between(1, 90);
  fil_softmax g = {.outer = outer, .axis = n, .inner = 1, .outer_s = n, .axis_s = 1, .inner_s = 1};
  fil_qsoftmax_args a = {.g = &g, .scale = 1.0f / 256, .q = rescale()};
  float *powers = place(POWERS, 1024);
  for (int i = 0; i < 256; i++) powers[i] = (float)exp(-i * 0.05);
  a.powers = powers;
  a.x = bytes_drawn(X, (size_t)outer * n);
  a.out = untouched((size_t)outer * n);
  fil_qsoftmax_by_isa[isa](&a);
  for (uint32_t o = 0; o < outer; o++) {
    const int8_t *x = a.x + (size_t)o * n;
    int most = -128;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) most = x[i] > most ? x[i] : most;
    for (uint32_t i = 0; i < n; i++) sum = f32(sum + (double)powers[most - x[i]]);
    double scale = f32(1 / f32(sum * (double)a.scale));
    for (uint32_t i = 0; i < n; i++)
      expect(a.out, o * n + i, rounded(f32((double)powers[most - x[i]] * scale), &a.q));
  }
}

typedef struct call {
  const char *name;
  void (*run)(void);
} call;

/* The more of them, the more there is to go wrong. */
static const call calls[] = {
    {"qspmm", qspmm},     {"qspmm", qspmm},     {"qconv", qconv},       {"qdwconv", qdwconv},
    {"qdwconv", qdwconv}, {"qspmv", qspmv},     {"qpool", qpool},       {"qreduce", qreduce},
    {"qmap", qmap},       {"qmap", qmap_types}, {"qsoftmax", qsoftmax},
};

int main(int count, char **words) {
  setvbuf(stdout, 0, _IONBF, 0);
  if (count != 4) return 2;
  isa = (fil_isa)fil_isa_find(words[1]);
  if ((int)isa < 0 || !fil_isa_present(isa)) return 3;
  rooms_make();
  unsigned long first = strtoul(words[2], 0, 10), end = first + strtoul(words[3], 0, 10);
  for (number = first; number < end; number++) {
    const call *c = &calls[number / 2 % (sizeof calls / sizeof *calls)];
    state = number * 0x632be59bd9b4e019u;
    kernel = c->name;
    c->run();
  }
  printf("%lu\n", end - first);
  return 0;
}
