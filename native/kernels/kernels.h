/* Kernels: one signature each, one table row per ISA. A kernel cannot fail; its op's check has
 * proved every access. Buffers are of fx, which an ISA of float16 has as halves (its weights are
 * halves too), and of the kernels whose names start with q int8. Lanes run over positions, so a
 * kernel may read and write up to the next multiple of its lanes past the last position of a plane
 * (the plane's own padding), and nothing else.
 *
 * A kernel may be called on part of an op: fewer rows, positions, planes. So the order in which an
 * output's sum is taken depends on the weights alone, not on how many others are computed with it:
 * results are the same bits for any number of threads.
 *
 * Every kernel exists as ref.c (the specification: plain loops) and simd.c (one source over
 * simd/simd.h, compiled once per ISA with -DFIL_ISA_<NAME>). Numbers lie at multiples of their
 * size, quads and scratch at multiples of 4.
 */
#ifndef FIL_KERNELS_H
#define FIL_KERNELS_H
#include "filigree/filigree.h"
#include "kernels/element.h"

/* A weight matrix, resolved to pointers. index is u8 steps (D8) or u16 absolute (U16). Weights are
 * values, or, if that is not NULL, halves; spmm, conv and dwconv then widen a part of them at a
 * time into wide: FIL_WIDE floats or one group (dwconv: one row), but no more than there are.
 * Of int8 kernels: quads, sums (the biases) and multipliers. Of int4 weights: nibbles and scales
 * (kernels/nibbles.h). */
typedef struct fil_matrix {
  const float *values;
  const float *bias;
  const void *index;
  const uint16_t *count;
  uint32_t rows, cols, groups, block_rows;
  uint8_t coding;
  const uint16_t *halves; /* float16 */
  float *wide;
  const int8_t *quads; /* int8 */
  const int32_t *sums;
  const float *multipliers;
  const uint8_t *nibbles; /* int4 */
  const uint16_t *scales;
} fil_matrix;

/* out = act(residual + bias + W x). lo/hi as in fil_op. residual may be NULL. */
typedef struct fil_epilogue {
  const fx *residual;
  uint32_t residual_pitch;
  uint8_t act;
  float lo, hi;
} fil_epilogue;

/* spmm: out[r][p] for r < rows, p < positions. x[k][p], x_pitch apart. */
typedef struct fil_spmm_args {
  fil_matrix w;
  const fx *x;
  fx *out;
  uint32_t x_pitch, out_pitch;
  uint32_t positions;
  fil_epilogue e;
} fil_spmm_args;

/* conv: im2col into panel (FIL_TILE * cols floats) tile by tile, then spmm. Output positions
 * [first, first + positions), the first of them at out; input row y lies at y % ring. */
typedef struct fil_conv_args {
  fil_matrix w;
  const fx *x;
  fx *out;
  fx *panel;
  const fil_conv *g;
  uint32_t out_pitch;
  uint32_t first, positions, ring;
  fil_epilogue e;
} fil_conv_args;

/* dwconv: plane r of out = kernel r over plane r of x. scratch: fil_dwconv_scratch bytes.
 * w.values: rows x (kh * kw). Output rows [first, first + rows), the first of them at out; input
 * row y lies at y % ring. */
typedef struct fil_dwconv_args {
  fil_matrix w;
  const fx *x;
  fx *out;
  fx *scratch;
  const fil_conv *g;
  uint32_t x_pitch, out_pitch;
  uint32_t first, rows, ring;
  fil_epilogue e;
} fil_dwconv_args;

/* spmv: out[r] = act(residual[r] + bias[r] + sum_k W[r][k] x[k]); exact extents on x and out. */
typedef struct fil_spmv_args {
  fil_matrix w;
  const fx *x;
  fx *out;
  fil_epilogue e;
} fil_spmv_args;

/* The same with weights of int4. */
typedef fil_spmm_args fil_spmm4_args;
typedef fil_spmv_args fil_spmv4_args;

typedef struct fil_pool_args {
  const fx *x;
  fx *out;
  const fil_pool *g;
  uint32_t x_pitch, out_pitch;
  fil_epilogue e; /* activation only */
} fil_pool_args;

/* from, to: the elements of a and out (fil_dtype). They are fx, and b's too, but for a COPY, which
 * converts. */
typedef struct fil_map_args {
  const fx *a, *b;
  fx *out;
  const fil_map *g;
  uint8_t fn, from, to;
  fil_epilogue e; /* activation only */
} fil_map_args;

typedef struct fil_reduce_args {
  const fx *x;
  fx *out;
  const fil_reduce *g;
  fil_epilogue e; /* activation only */
} fil_reduce_args;

typedef struct fil_softmax_args {
  const fx *x;
  fx *out;
  const fil_softmax *g;
} fil_softmax_args;

typedef struct fil_matmul_args {
  const fx *a, *b;
  fx *out;
  const fil_matmul *g;
  fil_epilogue e; /* activation only */
} fil_matmul_args;

/* pixels: out[c][p] = x[c * cs + y * ys + x * xs] * scale[c] + shift[c], p = y * in_w + x; output
 * positions [first, first + positions), the first of them at out. */
typedef struct fil_pixels_args {
  const float *floats;  /* x, if it is float32 */
  const uint8_t *bytes; /* x, if it is u8 */
  const float *scale, *shift;
  fx *out;
  const fil_conv *g;
  uint32_t out_pitch;
  uint32_t first, positions;
} fil_pixels_args;

/* How int8 results are made: round(x), kept in [lo - zero, hi - zero], plus zero (kernels/q8.h).
 * A residual y counts as (y - residual_zero) * residual_scale. */
typedef struct fil_rescale {
  int32_t zero, lo, hi;
  int32_t residual_zero;
  float residual_scale;
} fil_rescale;

/* The int8 kernels: exact sums, one rounding, the same bits on every ISA. x_zero is what lies
 * outside of an image. Of planes they read and write what the float kernels do. */
typedef struct fil_qspmm_args {
  fil_matrix w;
  const int8_t *x, *residual;
  int8_t *out;
  uint32_t x_pitch, out_pitch, residual_pitch;
  uint32_t positions;
  uint32_t padded; /* planes are, to a multiple of as many elements; 0: of the ISA's lanes */
  fil_rescale q;
} fil_qspmm_args;

typedef struct fil_qconv_args {
  fil_matrix w;
  const int8_t *x, *residual;
  int8_t *out, *panel; /* fil_qconv_scratch bytes */
  const fil_conv *g;
  uint32_t out_pitch, residual_pitch;
  uint32_t first, positions, ring;
  int32_t x_zero;
  fil_rescale q;
} fil_qconv_args;

typedef struct fil_qdwconv_args {
  fil_matrix w;
  const int8_t *x, *residual;
  int8_t *out, *scratch; /* fil_qdwconv_scratch bytes */
  const fil_conv *g;
  uint32_t x_pitch, out_pitch, residual_pitch;
  uint32_t first, rows, ring;
  int32_t x_zero;
  fil_rescale q;
} fil_qdwconv_args;

typedef struct fil_qspmv_args {
  fil_matrix w;
  const int8_t *x, *residual;
  int8_t *out;
  fil_rescale q;
} fil_qspmv_args;

/* AVG: out = round(sum of (x - x_zero) * (multiplier / how many)) + zero */
typedef struct fil_qpool_args {
  const int8_t *x;
  int8_t *out;
  const fil_pool *g;
  uint32_t x_pitch, out_pitch;
  int32_t x_zero;
  float multiplier;
  fil_rescale q;
} fil_qpool_args;

/* Types and factors are as qmap.def says: a's and b's (MUL: the product's is a_scale); QUANTIZE
 * divides by a_scale. */
typedef struct fil_qmap_args {
  const void *a, *b;
  void *out;
  const fil_map *g;
  uint8_t fn;
  int32_t a_zero, b_zero;
  float a_scale, b_scale;
  fil_rescale q;
} fil_qmap_args;

/* MEAN, SUM: out = round(sum of (x - x_zero) * multiplier) + zero */
typedef struct fil_qreduce_args {
  const int8_t *x;
  int8_t *out;
  const fil_reduce *g;
  int32_t x_zero;
  float multiplier;
  fil_rescale q;
} fil_qreduce_args;

/* e[i] = powers[max - x[i]]; out = round(e * (1 / (sum of e, first to last, * scale))) + zero */
typedef struct fil_qsoftmax_args {
  const int8_t *x;
  int8_t *out;
  const fil_softmax *g;
  const float *powers; /* 256 */
  float scale;
  fil_rescale q;
} fil_qsoftmax_args;

/* Bytes of scratch, the most any ISA needs. */
uint64_t fil_conv_scratch(const fil_conv *g, uint32_t cols);
uint64_t fil_dwconv_scratch(const fil_conv *g);
uint64_t fil_qconv_scratch(const fil_conv *g, uint32_t cols);
uint64_t fil_qdwconv_scratch(const fil_conv *g);

/* fil_spmm_scalar, fil_spmm_avx2, ... and the table fil_spmm_by_isa[FIL_ISA_COUNT] (NULL: not in
 * this build; of int4.def, for float16), for every kernel of kernel.def, q8.def and int4.def. */
#define X(name)                                                                                    \
  typedef void (*fil_##name##_kernel)(const fil_##name##_args *);                                  \
  extern const fil_##name##_kernel fil_##name##_by_isa[FIL_ISA_COUNT];
#include "kernel.def"
#include "q8.def"
#include "int4.def"
#undef X

/* Run every kernel of one ISA on small cases against scalar: 0 if all agree. */
int fil_isa_selftest(fil_isa isa);
#endif
