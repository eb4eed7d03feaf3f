#include "hosted/probe/loops.h"
#include "simd/simd.h"

/* Independent sums hide the latency of a multiply-add; as many as registers allow. */
enum { SUMS = FIL_REGISTERS >= 32 ? 24 : 12, VECTORS = 4 };

uint64_t FIL_KERNEL(probe_peak)(uint32_t rounds, float *sink) {
  vf sum[SUMS], a = v_set1(0.999f), b = v_set1(1e-3f);
  FIL_UNROLL(k, SUMS) sum[k] = v_set1((float)k);
  for (uint32_t i = rounds; i; i--) {
    FIL_UNROLL(k, SUMS) sum[k] = v_fma(sum[k], a, b);
  }
  FIL_UNROLL(k, SUMS - 1) sum[0] = v_add(sum[0], sum[k + 1]);
  *sink = v_hsum(sum[0]);
  return (uint64_t)rounds * 2 * SUMS * VL;
}

void FIL_KERNEL(probe_triad)(float *a, const float *b, const float *c, size_t n) {
  vf s = v_set1(3.0f);
  for (size_t i = 0; i < n; i += VECTORS * VL) {
    FIL_UNROLL(k, VECTORS) {
      size_t at = i + k * VL;
      v_store(a + at, v_fma(s, v_load(c + at), v_load(b + at)));
    }
  }
}
