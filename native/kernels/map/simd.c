#include "kernels/map/axes.h"
#include "simd/finish.h"

enum { CHUNK = 1024 }; /* elements done with before their activation: they stay in the L1 cache */

FIL_INLINE vf apply(fil_map_fn fn, vf a, vf b) {
  switch (fn) {
  case FIL_MAP_ADD: return v_add(a, b);
  case FIL_MAP_SUB: return v_sub(a, b);
  case FIL_MAP_MUL: return v_mul(a, b);
  case FIL_MAP_DIV: return v_div(a, b);
  case FIL_MAP_MIN: return v_min(a, b);
  case FIL_MAP_MAX: return v_max(a, b);
  case FIL_MAP_PRELU: return v_select(v_lt(a, v_zero()), v_mul(a, b), a);
  default: return a;
  }
}

/* out[i] = fn(a[i], b[i]), a and b contiguous or one value (stride 0). */
FIL_INLINE void apply_run(fil_map_fn fn, fx *out, const fx *a, const fx *b, axis s) {
  vf va = v_set1(*a), vb = v_set1(*b);
  uint32_t i = 0;
  for (; i + VL <= s.n; i += VL) {
    if (s.a) va = v_load(a + i);
    if (s.b) vb = v_load(b + i);
    v_store(out + i, apply(fn, va, vb));
  }
  if (i == s.n) return;
  if (s.a) va = v_load_n(a + i, s.n - i);
  if (s.b) vb = v_load_n(b + i, s.n - i);
  v_store_n(out + i, apply(fn, va, vb), s.n - i);
}

static void run_fn(uint8_t fn, fx *out, const fx *a, const fx *b, axis s) {
  switch ((fil_map_fn)fn) {
#define X(NAME, name)                                                                              \
  case FIL_MAP_##NAME: apply_run(FIL_MAP_##NAME, out, a, b, s); break;
#include "filigree/map.def"
#undef X
  case FIL_MAP_COUNT: break;
  }
}

/* A contiguous view of n <= CHUNK elements: x itself, or a copy in `buffer` if they lie apart. */
static const fx *gather(const fx *x, int64_t stride, uint32_t n, fx *buffer) {
  if (stride == 0 || stride == 1) return x;
  for (uint32_t i = 0; i < n; i++) buffer[i] = x[i * stride];
  return buffer;
}

/* The innermost axis, in chunks. */
static void run_axis(const fil_map_args *a, fx *out, const fx *x, const fx *y, axis s) {
  fx bx[CHUNK], by[CHUNK], bo[CHUNK];
  axis c = {.a = s.a != 0, .b = s.b != 0};
  for (uint32_t i = 0; i < s.n; i += c.n, x += c.n * s.a, y += c.n * s.b, out += c.n * s.out) {
    c.n = s.n - i < CHUNK ? s.n - i : CHUNK;
    fx *to = s.out == 1 ? out : bo;
    run_fn(a->fn, to, gather(x, s.a, c.n, bx), gather(y, s.b, c.n, by), c);
    fil_piece p = {.y = to, .rows = 1, .n = c.n};
    if (a->e.act != FIL_ACT_NONE) FIL_KERNEL(finish)(&p, &a->e);
    if (to == bo)
      for (uint32_t k = 0; k < c.n; k++) out[k * s.out] = bo[k];
  }
}

#if FIL_LANES_F16
#include "kernels/map/convert.h"
#endif

void FIL_KERNEL(map)(const fil_map_args *a) {
  axis s[FIL_MAP_RANK];
  axes_of(a->g, s);
#if FIL_LANES_F16
  if (a->from != a->to) {
    convert(a, s);
    return;
  }
#endif
  const fx filler = (fx)a->e.lo, *x = a->fn == FIL_MAP_FILL ? &filler : a->a;
  const fx *y = a->b ? a->b : x;
  for (uint32_t i = 0; i < s[0].n; i++)
    for (uint32_t j = 0; j < s[1].n; j++)
      for (uint32_t k = 0; k < s[2].n; k++)
        run_axis(a, a->out + i * s[0].out + j * s[1].out + k * s[2].out,
                 x + i * s[0].a + j * s[1].a + k * s[2].a, y + i * s[0].b + j * s[1].b + k * s[2].b,
                 s[3]);
}
