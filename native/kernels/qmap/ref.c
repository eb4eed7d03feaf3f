#include "kernels/q8.h"

static size_t at(const int32_t stride[4], const uint32_t i[4]) {
  return (size_t)i[0] * (uint32_t)stride[0] + (size_t)i[1] * (uint32_t)stride[1] +
         (size_t)i[2] * (uint32_t)stride[2] + (size_t)i[3] * (uint32_t)stride[3];
}

static int8_t pair_of(const fil_qmap_args *a, int32_t x, int32_t y) {
  x -= a->a_zero, y -= a->b_zero;
  if (a->fn == FIL_QMAP_MUL) return fil_rescaled((float)(x * y) * a->a_scale, &a->q);
  float u = (float)x * a->a_scale, v = (float)y * a->b_scale;
  return fil_rescaled(a->fn == FIL_QMAP_ADD ? u + v : u - v, &a->q);
}

/* One element: its places in a, b and out. */
static void element(const fil_qmap_args *a, size_t ia, size_t ib, size_t io) {
  const int8_t *x = a->a, *y = a->b;
  int8_t *out = a->out;
  switch ((fil_qmap_fn)a->fn) {
  case FIL_QMAP_COPY: out[io] = fil_kept(x[ia], &a->q); break;
  case FIL_QMAP_FLIP: out[io] = (int8_t)(x[ia] ^ -128); break;
  case FIL_QMAP_QUANTIZE:
    out[io] = fil_rescaled(((const float *)a->a)[ia] / a->a_scale, &a->q);
    break;
  case FIL_QMAP_DEQUANTIZE: ((float *)a->out)[io] = (float)(x[ia] - a->a_zero) * a->a_scale; break;
  case FIL_QMAP_TABLE: out[io] = y[x[ia] + 128]; break;
  case FIL_QMAP_FILL: out[io] = (int8_t)a->q.lo; break;
  default: out[io] = pair_of(a, x[ia], y[ib]); break;
  }
}

/* out[i] = fn(a[i], b[i]), i over four dimensions, every operand with its own strides */
void fil_qmap_scalar(const fil_qmap_args *a) {
  const fil_map *g = a->g;
  uint32_t i[4];
  for (i[0] = 0; i[0] < g->dim[0]; i[0]++)
    for (i[1] = 0; i[1] < g->dim[1]; i[1]++)
      for (i[2] = 0; i[2] < g->dim[2]; i[2]++)
        for (i[3] = 0; i[3] < g->dim[3]; i[3]++)
          element(a, at(g->sa, i), at(g->sb, i), at(g->so, i));
}

#define FIL_TABLE qmap
#include "kernels/table.h"
