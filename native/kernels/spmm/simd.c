#include "simd/finish.h"
#if !FIL_LANES_F16
#include "kernels/spmm/parts.h"
#endif

/* The register tiles that exist, X(R, V): R rows of a group x V vectors of positions. R * V sums, a
 * vector of x and R weights are live; 4 to 8 sums are needed to hide the latency of a
 * multiply-add. One sum in memory costs more than all of that: each block then waits for the store
 * and the load of the one before it. */
/* clang-format off */
#define TILES_15                                                                                   \
  X(1, 1) X(1, 2) X(1, 3) X(1, 4) X(1, 5) X(1, 6) X(1, 7)                                          \
  X(2, 1) X(2, 2) X(2, 3) X(2, 4)                                                                  \
  X(4, 1) X(4, 2)
#define TILES_16 TILES_15 X(1, 8) X(2, 5) X(2, 6) X(4, 3)
#define TILES_32 TILES_16 X(2, 7) X(2, 8) X(4, 4) X(4, 5) X(4, 6) X(8, 1) X(8, 2) X(8, 3)
/* clang-format on */
#if FIL_REGISTERS >= 32
#define TILES TILES_32
#elif FIL_REGISTERS >= 16
#define TILES TILES_16
#else
#define TILES TILES_15
#endif
enum { MAX_R = FIL_REGISTERS >= 32 ? 8 : 4, MAX_V = 8 };

/* A tile of positions, for every group. */
typedef struct tile {
  v_bounds bounds;
  const fil_spmm_args *a;
  uint32_t position;
} tile;

/* One pass over a group's blocks. */
typedef struct pass {
  const fw *values; /* from the pass' first row */
  const uint8_t *index;
  uint32_t blocks, row, rows; /* rows: those that exist, at most R */
} pass;

/* The sums of a tile of V vectors; with a tail the last of them is half a vector. */
typedef struct sums {
  vf whole[MAX_R][MAX_V];
  hf half[MAX_R];
} sums;

/* x goes by bytes, so that a step costs one multiply-add of addresses. `before`: what is before the
 * first block's column; the last block's. */
FIL_INLINE uintptr_t sum_blocks(const tile *t, const pass *p, uintptr_t before, sums *sum,
                                const uint32_t R, const uint32_t V, const int tail,
                                const fil_coding coding) {
  const fw *w = p->values;
  const uint8_t *index = p->index;
  size_t pitch = t->a->x_pitch * sizeof(fx), O = t->a->w.block_rows, step = coding;
  const uintptr_t first = (uintptr_t)(t->a->x + t->position);
  uintptr_t x = before;
  for (uint32_t n = p->blocks; n; n--, w += O, index += step) {
    if (coding == FIL_CODING_NONE) x += pitch;
    if (coding == FIL_CODING_D8) x += *index * pitch;
    if (coding == FIL_CODING_U16) x = first + *(const uint16_t *)(const void *)index * pitch;
    const fx *at = (const fx *)x;
    v_weights weights = v_load_weights(w, R);
    vf v[MAX_V];
    FIL_UNROLL(j, V) v[j] = v_load(at + j * VL);
    hf last = h_narrow(v_zero());
    if (tail) last = h_load(at + V * VL);
    FIL_UNROLL(r, R) {
      vf weight = v_weight(weights, r);
      FIL_UNROLL(j, V) sum->whole[r][j] = v_fma(weight, v[j], sum->whole[r][j]);
      if (tail) sum->half[r] = h_fma(h_narrow(weight), last, sum->half[r]);
    }
  }
  return x;
}

/* What is before a group's first block. */
FIL_INLINE uintptr_t before_first(const tile *t, const fil_coding coding) {
  uintptr_t x = (uintptr_t)(t->a->x + t->position);
  return coding == FIL_CODING_NONE ? x - t->a->x_pitch * sizeof(fx) : x;
}

#if FIL_LANES_F16
#include "kernels/spmm/long.h"
#else
FIL_INLINE void sum_all(const tile *t, const pass *p, sums *sum, const uint32_t R, const uint32_t V,
                        const int tail, const fil_coding coding) {
  sum_blocks(t, p, before_first(t, coding), sum, R, V, tail, coding);
}
#endif

FIL_INLINE void run_pass(const tile *t, const pass *p, const uint32_t R, const uint32_t V,
                         const int tail, const fil_coding coding) {
  sums sum;
  FIL_UNROLL(r, R) {
    vf bias = v_set1(t->a->w.bias[p->row + r]);
    FIL_UNROLL(j, V) sum.whole[r][j] = bias;
    sum.half[r] = h_narrow(bias);
  }
  sum_all(t, p, &sum, R, V, tail, coding);
  v_bounds bounds = t->bounds;
  hf lo = h_narrow(bounds.lo), hi = h_narrow(bounds.hi);
  fx *out = t->a->out + (size_t)p->row * t->a->out_pitch + t->position;
  FIL_UNROLL(r, R) {
    if (r == p->rows) return;
    FIL_UNROLL(j, V) v_store(out + j * VL, v_clamp(sum.whole[r][j], bounds));
    if (tail) h_store(out + V * VL, h_min(h_max(sum.half[r], lo), hi));
    out += t->a->out_pitch;
  }
}

__attribute__((noinline)) static void finish_late(const tile *t, const pass *p, uint32_t n) {
  const fil_epilogue *e = &t->a->e;
  size_t out = (size_t)p->row * t->a->out_pitch + t->position;
  fil_piece f = {.y = t->a->out + out, .rows = p->rows, .n = n, .pitch = t->a->out_pitch};
  f.residual_pitch = e->residual_pitch;
  if (e->residual) f.residual = e->residual + p->row * f.residual_pitch + t->position;
  FIL_KERNEL(finish)(&f, e);
}

#if FIL_LANES_F16
FIL_INLINE const fw *values_of(const fil_matrix *w) { return (const fw *)(const void *)w->halves; }
#else
FIL_INLINE const fw *values_of(const fil_matrix *w) { return w->values; }
#endif

/* Every group; one of more than R rows in several passes. The loop is in here, as a call for each
 * group would cost what a few blocks do. */
FIL_INLINE void run_groups(const tile *t, const uint32_t R, const uint32_t V, const int tail,
                           const fil_coding coding) {
  const fil_matrix *w = &t->a->w;
  const fw *values = values_of(w);
  pass p = {.index = w->index ? w->index : w->bias}; /* dense reads none; NULL + 0 is undefined */
  for (uint32_t g = 0; g < w->groups; g++) {
    p.blocks = coding == FIL_CODING_NONE ? w->cols : w->count[g];
    for (uint32_t r = 0; r < w->block_rows && p.row < w->rows; r += R, p.row += R) {
      p.values = values + r;
      p.rows = w->rows - p.row < R ? w->rows - p.row : R;
      run_pass(t, &p, R, V, tail, coding);
      if (t->bounds.late) finish_late(t, &p, (V + (uint32_t)tail) * VL);
    }
    values += (size_t)p.blocks * w->block_rows;
    p.index += p.blocks * (size_t)coding; /* the bytes of an index: NONE 0, D8 1, U16 2 */
  }
}

FIL_INLINE void run_coded(const tile *t, const uint32_t R, const uint32_t V, const int tail) {
  if (t->a->w.coding == FIL_CODING_D8) run_groups(t, R, V, tail, FIL_CODING_D8);
  else if (t->a->w.coding == FIL_CODING_NONE) run_groups(t, R, V, tail, FIL_CODING_NONE);
  else run_groups(t, R, V, tail, FIL_CODING_U16);
}

typedef void (*tile_fn)(const tile *);

#define X(R, V)                                                                                    \
  static void tile_##R##x##V(const tile *t) { run_coded(t, R, V, 0); }
TILES
#undef X

static const tile_fn tile_of_shape[MAX_R + 1][MAX_V + 1] = {
#define X(R, V) [R][V] = tile_##R##x##V,
    TILES
#undef X
};

#if FIL_HALF
/* Tiles whose last vector is half a one. */
#define X(R, V)                                                                                    \
  static void tail_##R##x##V(const tile *t) { run_coded(t, R, V - 1, 1); }
TILES
#undef X

static const tile_fn tail_of_shape[MAX_R + 1][MAX_V + 1] = {
#define X(R, V) [R][V] = tail_##R##x##V,
    TILES
#undef X
};
#else
static const tile_fn (*const tail_of_shape)[MAX_V + 1] = tile_of_shape;
#endif

static uint32_t widest(uint32_t rows) {
#ifndef FIL_MOST
#define FIL_MOST MAX_V
#endif
  uint32_t v = FIL_MOST;
  while (!tile_of_shape[rows][v]) v--;
  return v;
}

/* Tiles as wide as the registers allow and as even as possible: 13 vectors are 5 + 4 + 4, not
 * 6 + 6 + 1, whose last would wait for its own sums. */
static void multiply(const fil_spmm_args *a) {
  uint32_t vectors = (a->positions + VL - 1) / VL;
  uint32_t rows = a->w.block_rows < MAX_R ? a->w.block_rows : MAX_R;
  uint32_t most = widest(rows), tiles = (vectors + most - 1) / most;
  tile t = {.bounds = finish_bounds(&a->e), .a = a};
  for (; tiles; tiles--) {
    uint32_t v = (vectors + tiles - 1) / tiles;
    int half = FIL_HALF && t.position + v * VL >= a->positions + FIL_HALF;
    (half ? tail_of_shape : tile_of_shape)[rows][v](&t);
    t.position += v * VL;
    vectors -= v;
  }
}

#if FIL_LANES_F16
void FIL_KERNEL(spmm)(const fil_spmm_args *a) { multiply(a); }
#else
void FIL_KERNEL(spmm)(const fil_spmm_args *a) {
  if (!a->w.halves) {
    multiply(a);
    return;
  }
  parts p = parts_of(a);
  while (next_part(&p)) multiply(&p.now);
}
#endif
