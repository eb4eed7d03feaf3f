#define FIL_IN_F32 1
#include "simd/finish.h"

enum { MAX_R = 4, MAX_V = FIL_REGISTERS >= 32 ? 4 : 2 };

/* Where a tile starts in A, B and C. */
typedef struct at {
  const fx *a, *b;
  fx *c;
} at;

/* R rows x V vectors of C; only `lanes` lanes of the last vector exist. */
FIL_INLINE void tile(const fil_matmul *g, at t, uint32_t lanes, const uint32_t R, const uint32_t V,
                     const int whole) {
  vf sum[MAX_R][MAX_V];
  FIL_UNROLL(r, R)
    FIL_UNROLL(j, V) sum[r][j] = v_zero();
  const fx *a = t.a, *b = t.b;
  for (uint32_t k = g->k; k; k--, a += g->ak, b += g->bk) {
    vf v[MAX_V];
    FIL_UNROLL(j, V) v[j] = whole || j < V - 1 ? v_load(b + j * VL) : v_load_n(b + j * VL, lanes);
    FIL_UNROLL(r, R) {
      vf x = v_set1(a[(size_t)r * g->am]);
      FIL_UNROLL(j, V) sum[r][j] = v_fma(x, v[j], sum[r][j]);
    }
  }
  FIL_UNROLL(r, R)
    FIL_UNROLL(j, V) {
      fx *c = t.c + (size_t)r * g->cm + j * VL;
      if (whole || j < V - 1) v_store(c, sum[r][j]);
      else v_store_n(c, sum[r][j], lanes);
    }
}

/* R rows: wide tiles, then single vectors, the last of them in part. */
FIL_INLINE void rows(const fil_matmul *g, at t, const uint32_t R) {
  uint32_t n = g->n;
  for (; n >= MAX_V * VL; n -= MAX_V * VL, t.b += MAX_V * VL, t.c += MAX_V * VL)
    tile(g, t, VL, R, MAX_V, 1);
  for (; n >= VL; n -= VL, t.b += VL, t.c += VL) tile(g, t, VL, R, 1, 1);
  if (n) tile(g, t, n, R, 1, 0);
}

void FIL_KERNEL(matmul)(const fil_matmul_args *a) {
  const fil_matmul *g = a->g;
  for (uint32_t b = 0; b < g->batch; b++) {
    at t = {a->a + (size_t)b * g->ab, a->b + (size_t)b * g->bb, a->out + (size_t)b * g->cb};
    uint32_t m = g->m;
    for (; m >= MAX_R; m -= MAX_R, t.a += MAX_R * (size_t)g->am, t.c += MAX_R * (size_t)g->cm)
      rows(g, t, MAX_R);
    for (; m; m--, t.a += g->am, t.c += g->cm) rows(g, t, 1);
    fil_piece p = {.y = a->out + (size_t)b * g->cb, .rows = g->m, .n = g->n, .pitch = g->cm};
    if (a->e.act != FIL_ACT_NONE) FIL_KERNEL(finish)(&p, &a->e);
  }
}
