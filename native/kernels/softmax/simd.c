#define FIL_IN_F32 1
#include "kernels/kernels.h"
#include "simd/math.h"

/* n neighbours. */
static void along(const fx *x, fx *out, uint32_t n) {
  uint32_t i = 0;
  vf most = v_set1(x[0]), sums = v_zero();
  for (; i + VL <= n; i += VL) most = v_max(most, v_load(x + i));
  float max = v_hmax(most), sum;
  for (; i < n; i++) max = fil_maxf(max, x[i]);
  vf top = v_set1(max);
  for (i = 0; i + VL <= n; i += VL) {
    vf e = v_exp(v_sub(v_load(x + i), top));
    sums = v_add(sums, e);
    v_store(out + i, e);
  }
  sum = v_hsum(sums);
  if (i < n) v_store_n(out + i, v_exp(v_sub(v_load_n(x + i, n - i), top)), n - i);
  for (uint32_t k = i; k < n; k++) sum += out[k];
  vf scale = v_set1(sum);
  for (i = 0; i + VL <= n; i += VL) v_store(out + i, v_div(v_load(out + i), scale));
  if (i < n) v_store_n(out + i, v_div(v_load_n(out + i, n - i), scale), n - i);
}

/* `lanes` columns side by side, n long. */
static void down(const fx *x, fx *out, uint32_t n, size_t stride, uint32_t lanes) {
  vf max = v_load_n(x, lanes), sum = v_zero();
  for (uint32_t i = 1; i < n; i++) max = v_max(max, v_load_n(x + i * stride, lanes));
  for (uint32_t i = 0; i < n; i++) {
    vf e = v_exp(v_sub(v_load_n(x + i * stride, lanes), max));
    sum = v_add(sum, e);
    v_store_n(out + i * stride, e, lanes);
  }
  for (uint32_t i = 0; i < n; i++)
    v_store_n(out + i * stride, v_div(v_load_n(out + i * stride, lanes), sum), lanes);
}

void FIL_KERNEL(softmax)(const fil_softmax_args *a) {
  const fil_softmax *g = a->g;
  int contiguous = g->axis_s == 1 || g->axis == 1;
  for (uint32_t o = 0; o < g->outer; o++)
    for (uint32_t n = 0, lanes; n < g->inner; n += lanes) {
      size_t at = (size_t)o * g->outer_s + (size_t)n * g->inner_s;
      lanes = 1;
      if (contiguous) {
        along(a->x + at, a->out + at, g->axis);
        continue;
      }
      if (g->inner_s == 1) lanes = g->inner - n < VL ? g->inner - n : VL;
      down(a->x + at, a->out + at, g->axis, g->axis_s, lanes);
    }
}
