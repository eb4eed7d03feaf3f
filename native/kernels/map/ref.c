#include "kernels/ref.h"

static float fn_of(const fil_map_args *a, int64_t at_a, int64_t at_b) {
  float x = a->fn == FIL_MAP_FILL ? a->e.lo : a->a[at_a];
  float y = a->b ? a->b[at_b] : 0;
  switch ((fil_map_fn)a->fn) {
  case FIL_MAP_ADD: return x + y;
  case FIL_MAP_SUB: return x - y;
  case FIL_MAP_MUL: return x * y;
  case FIL_MAP_DIV: return x / y;
  case FIL_MAP_MIN: return fil_minf(x, y);
  case FIL_MAP_MAX: return fil_maxf(x, y);
  case FIL_MAP_PRELU: return x < 0 ? x * y : x;
  default: return x;
  }
}

static int64_t at(const int32_t stride[4], const uint32_t i[4]) {
  return (int64_t)i[0] * stride[0] + (int64_t)i[1] * stride[1] + (int64_t)i[2] * stride[2] +
         (int64_t)i[3] * stride[3];
}

/* out[i] = act(fn(a[i], b[i])), i over four dimensions, every operand with its own strides */
void fil_map_scalar(const fil_map_args *a) {
  const fil_map *g = a->g;
  uint32_t i[4];
  for (i[0] = 0; i[0] < g->dim[0]; i[0]++)
    for (i[1] = 0; i[1] < g->dim[1]; i[1]++)
      for (i[2] = 0; i[2] < g->dim[2]; i[2]++)
        for (i[3] = 0; i[3] < g->dim[3]; i[3]++)
          a->out[at(g->so, i)] = fil_finish(fn_of(a, at(g->sa, i), at(g->sb, i)), &a->e, 0);
}

#define FIL_TABLE map
#include "kernels/table.h"
