#if !FIL_TARGET_NEON_FP16
#include "kernels/nibbles.h"
#include "kernels/spmv/inputs.h"
#include "simd/finish.h"
#include "simd/nibbles.h"

/* ALONG: units whose sums are apart; CHUNK: blocks whose x is gathered at a time. */
enum { ALONG = VL / 4, CHUNK = 4 * FIL_RUN };

typedef struct group {
  const uint8_t *nibbles;
  const uint16_t *scales;
  inputs in;
} group;

/* x of the next n blocks: each as often as its weights share a vector, zeros up to a whole unit. */
FIL_INLINE void gather(inputs *in, float *to, uint32_t n, const uint32_t O) {
  const uint32_t times = O < VL ? O : 1;
  for (uint32_t i = 0; i < n; i++) {
    float x = next_x(in);
    if (times == 1) to[i] = x;
    else v_store_f32(to + i * times, v_set1(x));
  }
  for (uint32_t i = n * times; i % (FIL_UNIT / O * times); i++) to[i] = 0;
}

/* The same; where they lie as they are wanted, there. */
FIL_INLINE const float *next_xs(inputs *in, float *room, uint32_t n, const uint32_t O) {
  if (O == FIL_UNIT && !in->step) {
    const float *x = in->x + (in->column + 1);
    in->column += n;
    return x;
  }
  gather(in, room, n, O);
  return room;
}

/* sum[k] += nibbles * x of one unit. */
FIL_INLINE void multiply(vf sum[FOUR_BITS], const uint8_t *nibbles, const float *x,
                         const uint32_t O) {
  vf w[FOUR_BITS];
  v_nibbles(nibbles, w);
  FIL_UNROLL(j, FOUR_BITS)
    sum[j] = v_fma(w[j], O < VL ? v_load_f32(x + j * VL) : v_set1(x[j * VL / O]), sum[j]);
}

/* sum += scales * (nibbles * x), N units at a time. */
FIL_INLINE void add_run(vf sum[FOUR_BITS], const group *g, const float *x, uint32_t units,
                        const uint32_t N, const uint32_t O) {
  const size_t step = O < VL ? FIL_UNIT : FIL_UNIT / O, bytes = FIL_UNIT / 2;
  const uint8_t *nibbles = g->nibbles;
  vf part[ALONG][FOUR_BITS], scales[FOUR_BITS];
  v_scales(g->scales, O, scales);
  FIL_UNROLL(k, N)
    FIL_UNROLL(j, FOUR_BITS) part[k][j] = v_zero();
  for (; units >= N; units -= N, nibbles += N * bytes, x += N * step)
    FIL_UNROLL(k, N) multiply(part[k], nibbles + k * bytes, x + k * step, O);
  for (; units; units--, nibbles += bytes, x += step) multiply(part[0], nibbles, x, O);
  FIL_UNROLL(k, N)
    FIL_UNROLL(j, FOUR_BITS) sum[j] = v_fma(part[k][j], scales[j], sum[j]);
}

/* Sixteen sums, number i of row i % O. */
FIL_INLINE void sum_group(group g, float *to, const uint32_t O) {
  float room[CHUNK * VL / 2 + FIL_UNIT + VL];
  vf sum[FOUR_BITS];
  FIL_UNROLL(j, FOUR_BITS) sum[j] = v_zero();
  for (uint32_t left = g.in.blocks, n; left; left -= n) {
    n = left < CHUNK ? left : CHUNK;
    const float *x = next_xs(&g.in, room, n, O);
    for (uint32_t i = 0, blocks; i < n; i += blocks) {
      blocks = n - i < FIL_RUN ? n - i : FIL_RUN;
      add_run(sum, &g, x + i * (O < VL ? O : 1), fil_nibble_units(blocks, O), O < 4 ? 1 : ALONG, O);
      g.nibbles += fil_nibble_bytes(blocks, O), g.scales += O;
    }
  }
  FIL_UNROLL(j, FOUR_BITS) v_store_f32(to + j * VL, sum[j]);
}

typedef void (*group_fn)(const group *, float *);

#define HEIGHTS X(1) X(2) X(4) X(8) X(16)
#define X(O)                                                                                       \
  static void sum_##O(const group *g, float *to) { sum_group(*g, to, O); }
HEIGHTS
#undef X

static const group_fn sum_of_height[17] = {
#define X(O) [O] = sum_##O,
    HEIGHTS
#undef X
};

void FIL_KERNEL(spmv4)(const fil_spmv4_args *a) {
  const fil_matrix *w = &a->w;
  uint32_t O = w->block_rows;
  group g = {w->nibbles, w->scales, inputs_of(w, a->x)};
  for (uint32_t i = 0, row = 0; i < w->groups; i++) {
    float sum[FIL_UNIT];
    enter_group(&g.in, w, i);
    sum_of_height[O](&g, sum);
    for (uint32_t n = FIL_UNIT / 2; n >= O; n /= 2)
      for (uint32_t r = 0; r < n; r++) sum[r] += sum[r + n];
    for (uint32_t r = 0; r < O && row < w->rows; r++, row++) a->out[row] = sum[r] + w->bias[row];
    g.nibbles += fil_nibble_bytes(g.in.blocks, O);
    g.scales += (size_t)fil_nibble_runs(g.in.blocks) * O;
    leave_group(&g.in);
  }
  fil_piece p = {.y = a->out, .residual = a->e.residual, .rows = 1, .n = w->rows};
  FIL_KERNEL(finish)(&p, &a->e);
}
#endif
