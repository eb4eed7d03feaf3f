/* Plain loops over neighbours, which compilers turn into vectors. */
#include "kernels/map/axes.h"
#include "kernels/q8.h"
#include "simd/inline.h"

/* Elements gathered at a time, where they lie apart; a microcontroller's stack is small. */
#if FIL_TARGET_HELIUM
enum { CHUNK = 64 };
#else
enum { CHUNK = 256 };
#endif

static void quantize(const fil_qmap_args *a, int8_t *restrict out, const float *restrict x,
                     uint32_t n) {
  const fil_rescale q = a->q;
  float scale = a->a_scale;
  for (uint32_t i = 0; i < n; i++) out[i] = fil_rescaled(x[i] / scale, &q);
}

static void dequantize(const fil_qmap_args *a, float *restrict out, const int8_t *restrict x,
                       uint32_t n) {
  float scale = a->a_scale;
  int32_t zero = a->a_zero;
  for (uint32_t i = 0; i < n; i++) out[i] = (float)(x[i] - zero) * scale;
}

/* sign: of b, for ADD and SUB: a - v is a + -v, exactly. */
static void add(const fil_qmap_args *a, int8_t *restrict out, const int8_t *restrict x,
                const int8_t *restrict y, uint32_t n, float sign) {
  const fil_rescale q = a->q;
  float u = a->a_scale, v = a->b_scale * sign;
  int32_t zx = a->a_zero, zy = a->b_zero;
  for (uint32_t i = 0; i < n; i++) {
    float l = (float)(x[i] - zx) * u, r = (float)(y[i] - zy) * v;
    out[i] = fil_rescaled(l + r, &q);
  }
}

static void multiply(const fil_qmap_args *a, int8_t *restrict out, const int8_t *restrict x,
                     const int8_t *restrict y, uint32_t n) {
  const fil_rescale q = a->q;
  float scale = a->a_scale;
  int32_t zx = a->a_zero, zy = a->b_zero;
  for (uint32_t i = 0; i < n; i++)
    out[i] = fil_rescaled((float)((x[i] - zx) * (y[i] - zy)) * scale, &q);
}

static void of_bytes(const fil_qmap_args *a, int8_t *restrict out, const int8_t *restrict x,
                     uint32_t n) {
  const int8_t *table = a->b;
  const int8_t lo = (int8_t)a->q.lo, hi = (int8_t)a->q.hi;
  if (a->fn == FIL_QMAP_FLIP)
    for (uint32_t i = 0; i < n; i++) out[i] = (int8_t)(x[i] ^ -128);
  else if (a->fn == FIL_QMAP_TABLE)
    for (uint32_t i = 0; i < n; i++) out[i] = table[x[i] + 128];
  else
    for (uint32_t i = 0; i < n; i++) {
      int8_t v = x[i] > lo ? x[i] : lo;
      out[i] = v < hi ? v : hi;
    }
}

/* n neighbours of a, b and out. */
static void run(const fil_qmap_args *a, void *out, const void *x, const void *y, uint32_t n) {
  switch ((fil_qmap_fn)a->fn) {
  case FIL_QMAP_QUANTIZE: quantize(a, out, x, n); break;
  case FIL_QMAP_DEQUANTIZE: dequantize(a, out, x, n); break;
  case FIL_QMAP_ADD: add(a, out, x, y, n, 1.0f); break;
  case FIL_QMAP_SUB: add(a, out, x, y, n, -1.0f); break;
  case FIL_QMAP_MUL: multiply(a, out, x, y, n); break;
  case FIL_QMAP_FILL: __builtin_memset(out, a->q.lo, n); break;
  default: of_bytes(a, out, x, n); break;
  }
}

/* Elements `item` bytes in size, `stride` of them apart, side by side: x itself if they are. */
static const void *gathered(const void *x, uint32_t item, int64_t stride, uint32_t n, void *room) {
  if (stride == 1 || !x) return x;
  const int8_t *bytes = x;
  const float *floats = x;
  if (item == 1)
    for (uint32_t i = 0; i < n; i++) ((int8_t *)room)[i] = bytes[i * stride];
  else
    for (uint32_t i = 0; i < n; i++) ((float *)room)[i] = floats[i * stride];
  return room;
}

static void scatter(void *out, const void *from, uint32_t item, int64_t stride, uint32_t n) {
  if (item == 1)
    for (uint32_t i = 0; i < n; i++) ((int8_t *)out)[i * stride] = ((const int8_t *)from)[i];
  else
    for (uint32_t i = 0; i < n; i++) ((float *)out)[i * stride] = ((const float *)from)[i];
}

/* The innermost axis. Operands may be out itself, element for element. */
static void run_axis(const fil_qmap_args *a, uint8_t *out, const uint8_t *x, const uint8_t *y,
                     axis s) {
  float bx[CHUNK], by[CHUNK], bo[CHUNK];
  uint32_t to = a->fn == FIL_QMAP_DEQUANTIZE ? 4 : 1, from = a->fn == FIL_QMAP_QUANTIZE ? 4 : 1;
  int apart = s.out != 1 || x == out || y == out;
  for (uint32_t i = 0, n; i < s.n; i += n) {
    n = s.n - i < CHUNK ? s.n - i : CHUNK;
    const void *u = x ? gathered(x + i * s.a * from, from, s.a, n, bx) : 0;
    const void *v = y ? gathered(y + i * s.b, 1, s.b, n, by) : 0;
    uint8_t *at = out + i * s.out * to;
    run(a, apart ? (void *)bo : at, u, v, n);
    if (apart) scatter(at, bo, to, s.out, n);
  }
}

void FIL_KERNEL(qmap)(const fil_qmap_args *a) {
  axis s[FIL_MAP_RANK];
  axes_of(a->g, s);
  uint32_t to = a->fn == FIL_QMAP_DEQUANTIZE ? 4 : 1, from = a->fn == FIL_QMAP_QUANTIZE ? 4 : 1;
  const uint8_t *x = a->a, *y = a->fn == FIL_QMAP_TABLE ? 0 : a->b;
  for (uint32_t i = 0; i < s[0].n; i++)
    for (uint32_t j = 0; j < s[1].n; j++)
      for (uint32_t k = 0; k < s[2].n; k++) {
        int64_t ia = i * s[0].a + j * s[1].a + k * s[2].a,
                ib = i * s[0].b + j * s[1].b + k * s[2].b;
        int64_t io = i * s[0].out + j * s[1].out + k * s[2].out;
        run_axis(a, (uint8_t *)a->out + io * to, x ? x + ia * from : 0, y ? y + ib : 0, s[3]);
      }
}
