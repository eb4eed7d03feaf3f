#include "kernels/spmm/parts.h"
#include "simd/finish.h"

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

/* One group's blocks at one tile of positions. */
typedef struct tile {
  v_bounds bounds;
  const float *x;             /* at the tile's first position */
  float *out;                 /* and at the tile's first row */
  const float *values, *bias; /* from that row */
  const uint8_t *index;
  uint8_t coding;
  size_t x_pitch, out_pitch, block_rows;
  uint32_t blocks, rows; /* rows: those that exist, at most R */
} tile;

/* The sums of a tile of V vectors; with a tail the last of them is half a vector. */
typedef struct sums {
  vf whole[MAX_R][MAX_V];
  hf half[MAX_R];
} sums;

/* x goes by bytes, so that a step costs one multiply-add of addresses. */
FIL_INLINE void sum_blocks(const tile *t, sums *sum, const uint32_t R, const uint32_t V,
                           const int tail, const fil_coding coding) {
  const float *w = t->values;
  const uint8_t *index = t->index;
  size_t pitch = t->x_pitch * sizeof(float), O = t->block_rows, step = coding;
  uintptr_t x = (uintptr_t)t->x;
  if (coding == FIL_CODING_NONE) x -= pitch;
  for (uint32_t n = t->blocks; n; n--, w += O, index += step) {
    if (coding == FIL_CODING_NONE) x += pitch;
    if (coding == FIL_CODING_D8) x += *index * pitch;
    if (coding == FIL_CODING_U16)
      x = (uintptr_t)t->x + *(const uint16_t *)(const void *)index * pitch;
    const float *at = (const float *)x;
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
}

FIL_INLINE void run_tile(const tile *t, const uint32_t R, const uint32_t V, const int tail,
                         const fil_coding coding) {
  sums sum;
  FIL_UNROLL(r, R) {
    vf bias = v_set1(t->bias[r]);
    FIL_UNROLL(j, V) sum.whole[r][j] = bias;
    sum.half[r] = h_narrow(bias);
  }
  sum_blocks(t, &sum, R, V, tail, coding);
  v_bounds bounds = t->bounds;
  hf lo = h_narrow(bounds.lo), hi = h_narrow(bounds.hi);
  float *out = t->out;
  FIL_UNROLL(r, R) {
    if (r == t->rows) return;
    FIL_UNROLL(j, V) v_store(out + j * VL, v_clamp(sum.whole[r][j], bounds));
    if (tail) h_store(out + V * VL, h_min(h_max(sum.half[r], lo), hi));
    out += t->out_pitch;
  }
}

FIL_INLINE void run_coded(const tile *t, const uint32_t R, const uint32_t V, const int tail) {
  if (t->coding == FIL_CODING_D8) run_tile(t, R, V, tail, FIL_CODING_D8);
  else if (t->coding == FIL_CODING_NONE) run_tile(t, R, V, tail, FIL_CODING_NONE);
  else run_tile(t, R, V, tail, FIL_CODING_U16);
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

static void finish_late(const fil_spmm_args *a, const tile *t, uint32_t row, uint32_t n) {
  fil_piece p = {.y = t->out, .rows = t->rows, .n = n, .pitch = t->out_pitch};
  p.residual_pitch = a->e.residual_pitch;
  if (a->e.residual) p.residual = a->e.residual + row * p.residual_pitch + (t->x - a->x);
  FIL_KERNEL(finish)(&p, &a->e);
}

/* Every group at one tile of V vectors; a group of more than R rows in several passes. */
static void run_groups(const fil_spmm_args *a, uint32_t position, uint32_t R, uint32_t V) {
  const fil_matrix *w = &a->w;
  int half = FIL_HALF && position + V * VL >= a->positions + FIL_HALF;
  tile_fn run = half ? tail_of_shape[R][V] : tile_of_shape[R][V];
  int dense = w->coding == FIL_CODING_NONE;
  tile t = {.bounds = finish_bounds(&a->e), .x = a->x + position, .block_rows = w->block_rows};
  t.x_pitch = a->x_pitch, t.out_pitch = a->out_pitch;
  t.index = w->index, t.coding = w->coding;
  const float *values = w->values;
  for (uint32_t g = 0, row = 0; g < w->groups; g++) {
    t.blocks = dense ? w->cols : w->count[g];
    for (uint32_t r = 0; r < w->block_rows && row < w->rows; r += R, row += R) {
      t.values = values + r;
      t.bias = w->bias + row;
      t.out = a->out + (size_t)row * a->out_pitch + position;
      t.rows = w->rows - row < R ? w->rows - row : R;
      run(&t);
      if (t.bounds.late) finish_late(a, &t, row, V * VL);
    }
    values += (size_t)t.blocks * w->block_rows;
    t.index += t.blocks * (size_t)t.coding; /* the bytes of an index: NONE 0, D8 1, U16 2 */
  }
}

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
  uint32_t vectors = (a->positions + VL - 1) / VL, position = 0;
  uint32_t rows = a->w.block_rows < MAX_R ? a->w.block_rows : MAX_R;
  uint32_t most = widest(rows), tiles = (vectors + most - 1) / most;
  for (; tiles; tiles--) {
    uint32_t v = (vectors + tiles - 1) / tiles;
    run_groups(a, position, rows, v);
    position += v * VL;
    vectors -= v;
  }
}

void FIL_KERNEL(spmm)(const fil_spmm_args *a) {
  if (!a->w.halves) {
    multiply(a);
    return;
  }
  parts p = parts_of(a);
  while (next_part(&p)) multiply(&p.now);
}
