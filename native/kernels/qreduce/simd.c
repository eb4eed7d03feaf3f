/* Plain loops over neighbours, which compilers turn into vectors. */
#include "kernels/q8.h"
#include "simd/inline.h"

enum { T = 16, HELD = 64 };

/* Results that are not rounded yet, and where they go. */
typedef struct held {
  const fil_qreduce_args *a;
  uint32_t n;
  int32_t value[HELD];
  int8_t *to[HELD];
} held;

FIL_INLINE int32_t combine(int32_t a, int32_t b, const int max) {
  return !max ? a + b : a > b ? a : b;
}

FIL_INLINE int32_t nothing(const int max) { return max ? INT32_MIN : 0; }

/* n elements to one value. */
FIL_INLINE int32_t along(const int8_t *x, uint32_t n, size_t stride, const int max) {
  int32_t t[T], all = nothing(max);
  uint32_t i = 0;
  if (stride == 1 && n >= T) {
    for (uint32_t j = 0; j < T; j++) t[j] = all;
    for (; i + T <= n; i += T)
      for (uint32_t j = 0; j < T; j++) t[j] = combine(t[j], x[i + j], max);
    for (uint32_t j = 0; j < T; j++) all = combine(all, t[j], max);
  }
  for (; i < n; i++) all = combine(all, x[i * stride], max);
  return all;
}

/* T results side by side, each down its own column. */
FIL_INLINE void down(int32_t to[T], const int8_t *x, uint32_t n, size_t stride, const int max) {
  int32_t t[T];
  for (uint32_t j = 0; j < T; j++) t[j] = nothing(max);
  for (; n; n--, x += stride)
    for (uint32_t j = 0; j < T; j++) t[j] = combine(t[j], x[j], max);
  for (uint32_t j = 0; j < T; j++) to[j] = t[j];
}

static void release(held *h, const int max) {
  const fil_qreduce_args *a = h->a;
  const fil_rescale q = a->q;
  int8_t out[HELD] = {0};
  int32_t shift = (int32_t)a->g->reduce * a->x_zero;
  float multiplier = a->multiplier;
  for (uint32_t i = h->n; i < HELD; i++) h->value[i] = 0;
  if (max)
    for (uint32_t i = 0; i < HELD; i++) out[i] = fil_kept(h->value[i], &q);
  else
    for (uint32_t i = 0; i < HELD; i++)
      out[i] = fil_rescaled((float)(h->value[i] - shift) * multiplier, &q);
  for (uint32_t i = 0; i < h->n; i++) *h->to[i] = out[i];
  h->n = 0;
}

/* The next n results, at most T, go to `to` and so on. */
FIL_INLINE void hold(held *h, const int32_t *values, int8_t *to, uint32_t n, const int max) {
  if (h->n + n > HELD) release(h, max);
  for (uint32_t j = 0; j < n; j++, h->n++) {
    h->value[h->n] = values[j];
    h->to[h->n] = to + (size_t)j * h->a->g->inner_so;
  }
}

FIL_INLINE void run(const fil_qreduce_args *a, const int max) {
  const fil_reduce *g = a->g;
  held h = {.a = a};
  for (uint32_t o = 0; o < g->outer; o++) {
    const int8_t *x = a->x + (size_t)o * g->outer_s;
    int8_t *out = a->out + (size_t)o * g->outer_so;
    for (uint32_t i = 0, n; i < g->inner; i += n) {
      int32_t value[T];
      n = g->inner_s == 1 && g->inner - i >= T ? T : 1;
      const int8_t *at = x + (size_t)i * g->inner_s;
      if (n == T) down(value, at, g->reduce, g->reduce_s, max);
      else value[0] = along(at, g->reduce, g->reduce_s, max);
      hold(&h, value, out + (size_t)i * g->inner_so, n, max);
    }
  }
  release(&h, max);
}

void FIL_KERNEL(qreduce)(const fil_qreduce_args *a) {
  if (a->g->fn == FIL_REDUCE_MAX) run(a, 1);
  else run(a, 0);
}
