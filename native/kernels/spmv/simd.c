#define FIL_IN_F32 1
#include "kernels/spmv/inputs.h"
#include "simd/finish.h"
#include "simd/f16.h"

enum { MAX_O = 16, CHUNK = 64 };

/* Where weights are read: floats, or halves that are widened in registers on the way. */
typedef struct weights {
  const float *floats;
  const uint16_t *halves;
} weights;

FIL_INLINE vf weights_load(weights w, size_t i, const int half) {
  return half ? v_load_f16(w.halves + i) : v_load_f32(w.floats + i);
}

FIL_INLINE vf weights_load_n(weights w, size_t i, uint32_t n, const int half) {
  return half ? v_load_f16_n(w.halves + i, n) : v_load_f32_n(w.floats + i, n);
}

FIL_INLINE weights weights_pass(weights w, size_t n, const int half) {
  if (half) w.halves += n;
  else w.floats += n;
  return w;
}

typedef struct group {
  weights w;
  inputs in;
  uint32_t O;
} group;

/* A block of at least one vector: N vectors, U blocks at a time, each with its own sums. */
FIL_INLINE void sum_wide(group g, float *to, const uint32_t N, const uint32_t U, const int half) {
  vf sum[4][4];
  FIL_UNROLL(u, U)
    FIL_UNROLL(j, N) sum[u][j] = v_zero();
  weights w = g.w;
  uint32_t i = 0;
  for (; i + U <= g.in.blocks; i += U)
    FIL_UNROLL(u, U) {
      vf x = v_set1(next_x(&g.in));
      FIL_UNROLL(j, N) sum[u][j] = v_fma(x, weights_load(w, j * VL, half), sum[u][j]);
      w = weights_pass(w, N * VL, half);
    }
  for (; i < g.in.blocks; i++) {
    vf x = v_set1(next_x(&g.in));
    FIL_UNROLL(j, N) sum[0][j] = v_fma(x, weights_load(w, j * VL, half), sum[0][j]);
    w = weights_pass(w, N * VL, half);
  }
  FIL_UNROLL(j, N) {
    vf all = sum[0][j];
    FIL_UNROLL(u, U - 1) all = v_add(all, sum[u + 1][j]);
    v_store_f32(to + j * VL, all);
  }
}

/* x of the next n blocks, each O times. */
FIL_INLINE void spread(group *g, float *to, uint32_t n) {
  if (g->O == 1)
    for (uint32_t i = 0; i < n; i++) to[i] = next_x(&g->in);
  else
    for (uint32_t i = 0; i < n; i++) v_store_f32(to + i * g->O, v_set1(next_x(&g->in)));
}

/* sum[0..4) += w[i] * x[i] for i < n, lane by lane. */
FIL_INLINE void multiply(vf sum[4], weights w, const float *x, uint32_t n, const int half) {
  uint32_t i = 0;
  for (; i + 4 * VL <= n; i += 4 * VL)
    FIL_UNROLL(u, 4)
      sum[u] = v_fma(weights_load(w, i + u * VL, half), v_load_f32(x + i + u * VL), sum[u]);
  for (; i + VL <= n; i += VL) sum[0] = v_fma(weights_load(w, i, half), v_load_f32(x + i), sum[0]);
  if (i < n) sum[0] = v_fma(weights_load_n(w, i, n - i, half), v_load_f32_n(x + i, n - i), sum[0]);
}

/* A block of less than a vector: x is spread out beside the weights; both are one long product. */
FIL_INLINE void sum_narrow(group g, float *to, const int half) {
  float x[CHUNK * MAX_O / 2 + VL], lanes[VL];
  vf sum[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
  weights w = g.w;
  for (uint32_t left = g.in.blocks, n; left; left -= n) {
    n = left < CHUNK ? left : CHUNK;
    spread(&g, x, n);
    multiply(sum, w, x, n * g.O, half);
    w = weights_pass(w, n * g.O, half);
  }
  v_store_f32(lanes, v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
  for (uint32_t r = 0; r < g.O; r++) to[r] = 0;
  for (uint32_t i = 0; i < VL; i++) to[i % g.O] += lanes[i];
}

FIL_INLINE void sum_group(const group *g, float *to, const int half) {
  if (g->O < VL) sum_narrow(*g, to, half);
  else if (g->O == VL) sum_wide(*g, to, 1, 4, half);
#if VL <= 8
  else if (g->O == 2 * VL) sum_wide(*g, to, 2, 4, half);
#endif
#if VL <= 4
  else sum_wide(*g, to, 4, 2, half);
#endif
}

static void sum_floats(const group *g, float *to) { sum_group(g, to, 0); }
static void sum_halves(const group *g, float *to) { sum_group(g, to, 1); }

void FIL_KERNEL(spmv)(const fil_spmv_args *a) {
  const fil_matrix *w = &a->w;
  group g = {{w->values, w->halves}, inputs_of(w, a->x), w->block_rows};
  for (uint32_t i = 0, row = 0; i < w->groups; i++) {
    float sum[MAX_O];
    enter_group(&g.in, w, i);
    if (w->halves) sum_halves(&g, sum);
    else sum_floats(&g, sum);
    for (uint32_t r = 0; r < g.O && row < w->rows; r++, row++) a->out[row] = sum[r] + w->bias[row];
    g.w = weights_pass(g.w, (size_t)g.in.blocks * g.O, w->halves != 0);
    leave_group(&g.in);
  }
  fil_piece p = {.y = a->out, .residual = a->e.residual, .rows = 1, .n = w->rows};
  FIL_KERNEL(finish)(&p, &a->e);
}
