/* image ISA END KEEP
 * The int8 kernels of an instruction set on many shapes, beside the scalar ones. Buffers hold what
 * a kernel may touch and not a byte more; the memory protection unit has nothing after them (END:
 * after) or before them (before), for the first five or the last four of the list below (KEEP: 0,
 * 1). KEEP 2: no kernel runs, but the byte next to the first buffer is read. Prints how many cases
 * there were, or the first that differs. */
#include "kernels/kernels.h"
#include "runner/mcu.h"

enum { INPUT, OUT, QUADS, SCRATCH, COUNT, RESIDUAL, INDEX, SUMS, MULTIPLIERS, BUFFERS };
enum { KEPT = 5, FIRST = 3, SLOT = 1 << 14, STACK = 1 << 14, MOST = 4096, CASES = ROUNDS };

HARNESS static uint8_t loose[BUFFERS][MOST];
HARNESS static uint8_t want[MOST], before[MOST];
HARNESS static char command[256];
HARNESS static const char *doing;
HARNESS static int after, keep, console;
HARNESS static uint32_t seed, cases;
HARNESS static fil_isa isa;

static void say(const char *text) {
  size_t n = 0;
  while (text[n]) n++;
  mcu_write(console, text, n);
}

static void say_number(uint32_t x) {
  char digits[11];
  int at = 10;
  digits[at] = 0;
  do digits[--at] = (char)('0' + x % 10);
  while (x /= 10);
  say(digits + at);
}

static _Noreturn void fail(const char *why) {
  say(doing);
  say(", case ");
  say_number(cases);
  say(why);
  mcu_exit(1);
}

static uint32_t below(uint32_t n) {
  seed = seed * 1664525 + 1013904223;
  return (seed >> 8) % n;
}

static uint32_t between(uint32_t least, uint32_t most) { return least + below(most - least + 1); }

/* A buffer of so many bytes, painted. */
static void *buffer(uint32_t which, size_t bytes) {
  uint8_t *p = loose[which];
  if (bytes > MOST) fail(": a buffer is too large");
  if (which / KEPT == (uint32_t)keep % 2) {
    uint32_t region = 32, slot = which % KEPT;
    while (region < bytes) region *= 2;
    uint8_t *start = (uint8_t *)(((uintptr_t)mcu_arena / SLOT + 2) * SLOT) + slot * SLOT;
    mcu_limit(FIRST + slot, start, region);
    p = after ? start + region - bytes : start;
  }
  for (size_t i = 0; i < bytes; i++) p[i] = (uint8_t)below(256);
  return p;
}

static fil_rescale rescale(void) {
  fil_rescale q = {.zero = (int32_t)below(256) - 128, .lo = -128, .hi = 127};
  if (below(2)) q.lo = q.zero, q.hi = (int32_t)between((uint32_t)(q.lo + 128), 255) - 128;
  q.residual_zero = (int32_t)below(256) - 128;
  q.residual_scale = 0.01f * (float)between(1, 200);
  return q;
}

/* Rows by columns, of every coding; steps of D8 and U16 as the loader lets them be. */
static fil_matrix matrix(uint32_t rows, uint32_t cols, uint32_t O, fil_coding coding) {
  fil_matrix w = {.rows = rows, .cols = cols, .block_rows = O, .coding = (uint8_t)coding};
  uint32_t blocks = 0, quads = 0, step = between(1, 6);
  w.groups = (rows + O - 1) / O;
  uint16_t *count = buffer(COUNT, w.groups * sizeof *count);
  for (uint32_t g = 0; g < w.groups; g++) {
    count[g] = (uint16_t)(coding ? below(cols / step + 1) : cols);
    blocks += count[g], quads += (count[g] + 3u) / 4u;
  }
  uint8_t *index = buffer(INDEX, (size_t)blocks * coding);
  for (uint32_t g = 0, i = 0; g < w.groups && coding; g++)
    for (uint32_t k = 0, column = 0; k < count[g]; k++, i++) {
      uint32_t by = k ? between(1, step) : below(step);
      column += by;
      if (coding == FIL_CODING_D8) index[i] = (uint8_t)by;
      else ((uint16_t *)(void *)index)[i] = (uint16_t)column;
    }
  int8_t *values = buffer(QUADS, (size_t)quads * O * 4);
  for (uint32_t g = 0; g < w.groups; values += (count[g] + 3u) / 4u * O * 4, g++)
    for (uint32_t k = count[g]; k % 4; k++)
      for (uint32_t r = 0; r < O; r++) values[(k / 4 * O + r) * 4 + k % 4] = 0;
  w.quads = values - (size_t)quads * O * 4;
  w.index = index, w.count = count;
  int32_t *sums = buffer(SUMS, (size_t)w.groups * O * 4);
  float *multipliers = buffer(MULTIPLIERS, (size_t)w.groups * O * 4);
  for (uint32_t r = 0; r < w.groups * O; r++)
    sums[r] = (int32_t)below(60000) - 30000, multipliers[r] = 1e-5f * (float)between(1, 2000);
  w.sums = sums, w.multipliers = multipliers;
  return w;
}

static int differs(const uint8_t *got, size_t bytes) {
  for (size_t i = 0; i < bytes; i++)
    if (got[i] != want[i]) return 1;
  return 0;
}

/* Both kernels on the same painted output of so many bytes. */
#define COMPARE(kernel, args, bytes)                                                               \
  do {                                                                                             \
    uint8_t *got = buffer(OUT, bytes);                                                             \
    (args).out = (void *)got;                                                                      \
    for (size_t i = 0; i < (bytes); i++) before[i] = got[i];                                       \
    fil_##kernel##_by_isa[FIL_ISA_SCALAR](&(args));                                                \
    for (size_t i = 0; i < (bytes); i++) want[i] = got[i], got[i] = before[i];                     \
    fil_##kernel##_by_isa[isa](&(args));                                                           \
    if (differs(got, bytes)) fail(" differs");                                                     \
    cases++;                                                                                       \
  } while (0)

static const int8_t *residual(size_t bytes) { return below(3) ? 0 : buffer(RESIDUAL, bytes); }

static void qspmm(void) {
  uint32_t positions = between(1, below(4) ? 40 : 150), O = 1u << below(5);
  uint32_t cols = between(1, positions < 40 ? 90 : 26), rows = between(1, 25);
  fil_qspmm_args a = {.w = matrix(rows, cols, O, (fil_coding)below(3)), .positions = positions};
  a.padded = 1, a.q = rescale();
  a.x_pitch = positions + below(4), a.out_pitch = positions + below(4);
  a.residual_pitch = positions + below(4);
  a.x = buffer(INPUT, (size_t)(cols - 1) * a.x_pitch + positions);
  a.residual = residual((size_t)(rows - 1) * a.residual_pitch + positions);
  COMPARE(qspmm, a, (size_t)(rows - 1) * a.out_pitch + positions);
}

static void qspmv(void) {
  uint32_t cols = between(1, below(4) ? 60 : 500), rows = between(1, cols < 100 ? 40 : 5);
  uint32_t O = 1u << below(cols < 100 ? 5 : 3);
  fil_qspmv_args a = {.w = matrix(rows, cols, O, (fil_coding)below(3)), .q = rescale()};
  a.x = buffer(INPUT, cols);
  a.residual = residual(rows);
  COMPARE(qspmv, a, rows);
}

/* 0: the kernel is larger than the padded input. */
static int geometry(fil_conv *g, uint32_t most_k) {
  *g = (fil_conv){.channels = between(1, 4), .in_h = between(1, 14), .in_w = between(1, 40)};
  g->kh = (uint16_t)between(1, most_k), g->kw = (uint16_t)between(1, most_k);
  g->sh = (uint16_t)between(1, 3), g->sw = below(3) ? g->sh : (uint16_t)between(1, 3);
  g->dh = below(4) ? 1 : 2, g->dw = below(4) ? 1 : 2;
  g->pad_top = (uint16_t)below(4), g->pad_left = (uint16_t)below(4);
  uint32_t h = g->in_h + g->pad_top + below(4), w = g->in_w + g->pad_left + below(4);
  uint32_t tall = (uint32_t)(g->kh - 1) * g->dh + 1, wide = (uint32_t)(g->kw - 1) * g->dw + 1;
  if (h < tall || w < wide) return 0;
  g->out_h = (h - tall) / g->sh + 1, g->out_w = (w - wide) / g->sw + 1;
  return 1;
}

/* Planes, or pixels of all channels. */
static void qconv(void) {
  fil_conv g;
  uint32_t O = 1u << below(5), rows = between(1, 12), planar = below(2);
  if (!geometry(&g, 4)) return;
  uint32_t ring = between(1, g.in_h), cols = g.channels * g.kh * g.kw;
  g.xs = planar ? 1 : g.channels, g.ys = g.in_w * g.xs, g.cs = planar ? ring * g.in_w : 1;
  uint32_t all = g.out_h * g.out_w, first = below(all), positions = between(1, all - first);
  if (fil_qconv_scratch(&g, cols) > MOST || (uint64_t)rows * (positions + 3) > MOST) return;
  fil_qconv_args a = {.w = matrix(rows, cols, O, (fil_coding)below(3)), .g = &g, .q = rescale()};
  a.first = first, a.positions = positions, a.ring = ring, a.x_zero = (int32_t)below(256) - 128;
  a.out_pitch = positions + below(4), a.residual_pitch = positions;
  a.x = buffer(INPUT, (size_t)ring * g.in_w * g.channels);
  a.panel = buffer(SCRATCH, fil_qconv_scratch(&g, cols));
  a.residual = residual((size_t)rows * positions);
  COMPARE(qconv, a, (size_t)(rows - 1) * a.out_pitch + positions);
}

static void qdwconv(void) {
  fil_conv g;
  if (!geometry(&g, below(2) ? 3 : 8)) return;
  uint32_t planes = between(1, 3), ring = between(1, g.in_h);
  uint32_t first = below(g.out_h), rows = between(1, g.out_h - first), n = rows * g.out_w;
  if (fil_qdwconv_scratch(&g) > MOST || planes * (n + 3) > MOST) return;
  fil_qdwconv_args a = {.w = matrix(planes, (uint32_t)g.kh * g.kw, 1, FIL_CODING_NONE), .g = &g};
  a.q = rescale(), a.x_zero = (int32_t)below(256) - 128;
  a.x_pitch = ring * g.in_w + below(4), a.out_pitch = n + below(4), a.residual_pitch = n;
  a.first = first, a.rows = rows, a.ring = ring;
  a.x = buffer(INPUT, (size_t)(planes - 1) * a.x_pitch + ring * g.in_w);
  a.scratch = buffer(SCRATCH, fil_qdwconv_scratch(&g));
  a.residual = below(3) ? 0 : residual((size_t)planes * n);
  COMPARE(qdwconv, a, (size_t)(planes - 1) * a.out_pitch + n);
}

static void qmap(void) {
  uint32_t n = between(1, 200), step = between(1, 3), outer = between(1, 4);
  fil_map g = {{1, 1, (int32_t)outer, (int32_t)n}, {0}, {0}, {0}};
  fil_qmap_args a = {.g = &g, .fn = (uint8_t)below(FIL_QMAP_COUNT), .q = rescale()};
  uint32_t from = a.fn == FIL_QMAP_QUANTIZE ? 4 : 1, to = a.fn == FIL_QMAP_DEQUANTIZE ? 4 : 1;
  uint32_t row = n * step, bytes = (outer - 1) * row + (n - 1) * step + 1;
  g.sa[2] = g.sb[2] = g.so[2] = (int32_t)row, g.sa[3] = g.sb[3] = g.so[3] = (int32_t)step;
  if (a.fn == FIL_QMAP_FILL) g.sa[2] = g.sa[3] = 0;
  if (a.fn <= FIL_QMAP_FILL) g.sb[2] = g.sb[3] = 0;
  if (bytes * 4 > MOST) return;
  float *floats = buffer(INPUT, bytes * from);
  for (uint32_t i = 0; i < bytes && from == 4; i++) floats[i] = (float)below(2000) * 0.01f - 10;
  a.a = floats, a.b = buffer(RESIDUAL, a.fn == FIL_QMAP_TABLE ? 256 : bytes);
  a.a_scale = 0.01f * (float)between(1, 50), a.b_scale = 0.01f * (float)between(1, 50);
  a.a_zero = (int32_t)below(256) - 128, a.b_zero = (int32_t)below(256) - 128;
  COMPARE(qmap, a, bytes * to);
}

static void qreduce(void) {
  fil_reduce g = {.outer = between(1, 5), .reduce = between(1, 40), .inner = between(1, 20)};
  g.fn = (uint8_t)below(FIL_REDUCE_MAX + 1), g.inner_s = g.inner_so = 1;
  g.reduce_s = g.inner, g.outer_s = g.inner * g.reduce, g.outer_so = g.inner;
  fil_qreduce_args a = {.g = &g, .x_zero = 11, .multiplier = 0.03f, .q = rescale()};
  a.x = buffer(INPUT, (size_t)g.outer * g.outer_s);
  COMPARE(qreduce, a, (size_t)g.outer * g.inner);
}

/* One kernel serves every instruction set. */
static void qpool(void) {}
static void qsoftmax(void) {}

static int is(const char *word, const char *other) {
  while (*word && *word == *other) word++, other++;
  return *word == *other;
}

static const char *next_word(char **at) {
  char *start = *at, *p = start;
  while (*p && *p != ' ') p++;
  if (*p) *p++ = 0;
  *at = p;
  return start;
}

int mcu_main(void) {
  char *at = command;
  console = mcu_open(":tt", MCU_STDOUT);
  mcu_command(command, sizeof command);
  next_word(&at);
  isa = (fil_isa)fil_isa_find(next_word(&at));
  after = is(next_word(&at), "after");
  keep = *at - '0';
  mcu_limit(1, mcu_ram, STACK);
  if (keep == 2) {
    volatile const uint8_t *p = buffer(INPUT, 100);
    (void)(after ? p[100] : p[-1]);
    return 0;
  }
  for (uint32_t i = 0; i < CASES; i++) {
#define X(name)                                                                                    \
  doing = #name;                                                                                   \
  name();
#include "kernels/q8.def"
#undef X
  }
  say_number(cases);
  return 0;
}
