/* Like the scalar kernels: whatever the compiler makes of plain loops. */
#include "hosted/probe/loops.h"

enum { SUMS = 16 };

uint64_t fil_probe_peak_scalar(uint32_t rounds, float *sink) {
  float sum[SUMS];
  for (uint32_t k = 0; k < SUMS; k++) sum[k] = (float)k;
  for (uint32_t i = 0; i < rounds; i++)
    for (uint32_t k = 0; k < SUMS; k++) sum[k] = sum[k] * 0.999f + 1e-3f;
  *sink = 0;
  for (uint32_t k = 0; k < SUMS; k++) *sink += sum[k];
  return (uint64_t)rounds * 2 * SUMS;
}

void fil_probe_triad_scalar(float *a, const float *b, const float *c, size_t n) {
  for (size_t i = 0; i < n; i++) a[i] = b[i] + 3.0f * c[i];
}
