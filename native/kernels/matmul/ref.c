#include "kernels/ref.h"

static float dot(const fil_matmul *g, const float *a, const float *b) {
  float sum = 0;
  for (uint32_t k = 0; k < g->k; k++) sum += a[(size_t)k * g->ak] * b[(size_t)k * g->bk];
  return sum;
}

/* C[b, m, n] = act(sum_k A[b, m, k] B[b, k, n]) */
void fil_matmul_scalar(const fil_matmul_args *a) {
  const fil_matmul *g = a->g;
  for (uint32_t b = 0; b < g->batch; b++)
    for (uint32_t m = 0; m < g->m; m++)
      for (uint32_t n = 0; n < g->n; n++) {
        const float *row = a->a + (size_t)b * g->ab + (size_t)m * g->am;
        float v = dot(g, row, a->b + (size_t)b * g->bb + n);
        a->out[(size_t)b * g->cb + (size_t)m * g->cm + n] = fil_finish(v, &a->e, 0);
      }
}

#define FIL_TABLE matmul
#include "kernels/table.h"
