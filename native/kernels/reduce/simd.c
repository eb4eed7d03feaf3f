#define FIL_IN_F32 1
#include "simd/finish.h"

FIL_INLINE vf combine(vf a, vf b, const int max) { return max ? v_max(a, b) : v_add(a, b); }

/* n neighbours to one value. */
FIL_INLINE float along(const fx *x, uint32_t n, const int max) {
  vf none = max ? v_set1(x[0]) : v_zero(), t[4] = {none, none, none, none};
  uint32_t i = 0;
  for (; i + 4 * VL <= n; i += 4 * VL)
    FIL_UNROLL(u, 4) t[u] = combine(t[u], v_load(x + i + u * VL), max);
  for (; i + VL <= n; i += VL) t[0] = combine(t[0], v_load(x + i), max);
  vf all = combine(combine(t[0], t[1], max), combine(t[2], t[3], max), max);
  float rest = max ? v_hmax(all) : v_hsum(all);
  for (; i < n; i++) rest = !max ? rest + x[i] : rest < x[i] ? x[i] : rest;
  return rest;
}

/* `lanes` results side by side, each down its own column. */
FIL_INLINE vf down(const fx *x, uint32_t n, size_t stride, uint32_t lanes, const int max) {
  vf t = lanes == VL ? v_load(x) : v_load_n(x, lanes);
  for (uint32_t i = 1; i < n; i++) {
    x += stride;
    t = combine(t, lanes == VL ? v_load(x) : v_load_n(x, lanes), max);
  }
  return t;
}

/* No axis that is contiguous. */
static float apart(const fx *x, uint32_t n, size_t stride, int max) {
  float t = x[0];
  for (uint32_t i = 1; i < n; i++) {
    float v = x[i * stride];
    t = !max ? t + v : t < v ? v : t;
  }
  return t;
}

FIL_INLINE void run_row(const fil_reduce *g, const fx *x, fx *out, const int max) {
  float divisor = g->fn == FIL_REDUCE_MEAN ? (float)g->reduce : 1.0f;
  for (uint32_t i = 0, n; i < g->inner; i += n) {
    float y[VL];
    n = 1;
    if (g->inner > 1 && g->inner_s == 1) {
      n = g->inner - i < VL ? g->inner - i : VL;
      v_store_f32(y, down(x + i, g->reduce, g->reduce_s, n, max));
    } else if (g->reduce_s == 1) y[0] = along(x + (size_t)i * g->inner_s, g->reduce, max);
    else y[0] = apart(x + (size_t)i * g->inner_s, g->reduce, g->reduce_s, max);
    for (uint32_t k = 0; k < n; k++) out[(size_t)(i + k) * g->inner_so] = y[k] / divisor;
  }
}

/* Results side by side in memory: their activation, a row at a time. */
static void finish_row(const fil_reduce_args *a, fx *out) {
  const fil_reduce *g = a->g;
  int together = g->inner_so == 1;
  fil_piece p = {.y = out, .rows = together ? 1 : g->inner, .n = together ? g->inner : 1};
  p.pitch = g->inner_so;
  if (a->e.act != FIL_ACT_NONE) FIL_KERNEL(finish)(&p, &a->e);
}

void FIL_KERNEL(reduce)(const fil_reduce_args *a) {
  fil_reduce g = *a->g;
  if (g.inner == 1 && g.outer_s == 1 && g.reduce_s != 1) { /* lanes over the outer axis */
    g.inner = g.outer, g.inner_s = 1, g.inner_so = g.outer_so;
    g.outer = 1;
  }
  fil_reduce_args b = *a;
  b.g = &g;
  for (uint32_t o = 0; o < g.outer; o++) {
    const fx *x = a->x + (size_t)o * g.outer_s;
    fx *out = a->out + (size_t)o * g.outer_so;
    if (g.fn == FIL_REDUCE_MAX) run_row(&g, x, out, 1);
    else run_row(&g, x, out, 0);
    finish_row(&b, out);
  }
}
