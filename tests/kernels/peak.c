/* The multiply-add peak of an ISA on one core: 12 independent sums in registers, nothing else. */
#include "simd/simd.h"

enum { SUMS = 12 };

static volatile float sink;

/* 2 * SUMS * VL floating-point operations for each of *steps. */
void FIL_KERNEL(peak)(const void *steps);
void FIL_KERNEL(peak)(const void *steps) {
  vf sum[SUMS], a = v_set1(0.999f), b = v_set1(1e-3f);
  FIL_UNROLL(k, SUMS) sum[k] = v_set1((float)k);
  for (uint32_t s = *(const uint32_t *)steps; s; s--) {
    FIL_UNROLL(k, SUMS) sum[k] = v_fma(sum[k], a, b);
  }
  FIL_UNROLL(k, SUMS - 1) sum[0] = v_add(sum[0], sum[k + 1]);
  sink = v_hsum(sum[0]);
}
