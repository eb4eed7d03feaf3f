#if FIL_TARGET_HELIUM
#include "kernels/qspmv/helium.h"

#elif FIL_TARGET_DSP
#include "kernels/qspmv/dsp.h"

#else
#include "kernels/q8.h"
#include "simd/bytes.h"

/* Weights are read as they lie, a vector at a time: 32-bit words, each four weights of a row, the
 * rows of a quad side by side. What an ISA brings:
 *   WIDE     bytes of a vector;  PARTS: sums of each word
 *   sums     of a vector's words; add, dot(sums, weights, inputs), store_sums
 *   places   how the inputs of the quads of a vector go to its words; places_of, spread */
#if FIL_TARGET_AVX512
#include <immintrin.h>
#include "runtime/features.h"
#include "simd/vnni.h"

enum { WIDE = 64, PARTS = 1 };

typedef __m512i inputs;
typedef __m512i places;

/* less: what inputs that are 128 more than they are add to `all` (qspmm/vnni.h). */
typedef struct sums {
  __m512i all, less;
} sums;

FIL_INLINE sums none(void) { return (sums){_mm512_setzero_si512(), _mm512_setzero_si512()}; }

FIL_INLINE sums add(sums a, sums b) {
  return (sums){_mm512_add_epi32(a.all, b.all), _mm512_add_epi32(a.less, b.less)};
}

FIL_INLINE sums dot(sums s, const int8_t *w, inputs x) {
  __m512i weights = _mm512_loadu_si512(w);
  s.all = _mm512_dpbusd_epi32(s.all, x, weights);
  s.less = _mm512_dpbusd_epi32(s.less, _mm512_set1_epi8(-128), weights);
  return s;
}

FIL_INLINE void store_sums(int32_t *to, sums s) {
  _mm512_storeu_si512(to, _mm512_sub_epi32(s.all, s.less));
}

FIL_INLINE places places_of(const int8_t bytes[WIDE]) {
  return _mm512_srli_epi32(_mm512_and_si512(_mm512_loadu_si512(bytes), _mm512_set1_epi32(0xff)), 2);
}

FIL_INLINE inputs spread(const int8_t *x, places by) {
  __m512i four = _mm512_permutexvar_epi32(by, _mm512_loadu_si512(x));
  return _mm512_xor_si512(four, _mm512_set1_epi8(-128));
}

#elif FIL_TARGET_AVX2
#include <immintrin.h>

enum { WIDE = 16, PARTS = 2 };

typedef __m256i sums;
typedef __m256i inputs;
typedef __m128i places;

FIL_INLINE __m128i sixteen(const int8_t *x) {
  return _mm_loadu_si128((const __m128i *)(const void *)x);
}
FIL_INLINE sums none(void) { return _mm256_setzero_si256(); }
FIL_INLINE sums add(sums a, sums b) { return _mm256_add_epi32(a, b); }
FIL_INLINE sums dot(sums s, const int8_t *w, inputs x) {
  return _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_cvtepi8_epi16(sixteen(w)), x));
}
FIL_INLINE void store_sums(int32_t *to, sums s) { _mm256_storeu_si256((__m256i *)(void *)to, s); }
FIL_INLINE places places_of(const int8_t bytes[WIDE]) { return sixteen(bytes); }
FIL_INLINE inputs spread(const int8_t *x, places by) {
  return _mm256_cvtepi8_epi16(_mm_shuffle_epi8(sixteen(x), by));
}

#elif FIL_TARGET_NEON || FIL_TARGET_NEON_DOTPROD || FIL_TARGET_NEON_FP16
#include "simd/arm.h"

typedef int8x16_t inputs;
typedef uint8x16_t places;

#if FIL_TARGET_NEON_DOTPROD
enum { WIDE = 16, PARTS = 1 };

typedef int32x4_t sums;

FIL_INLINE sums none(void) { return vdupq_n_s32(0); }
FIL_INLINE sums add(sums a, sums b) { return vaddq_s32(a, b); }
FIL_INLINE sums dot(sums s, const int8_t *w, inputs x) { return vdotq_s32(s, vld1q_s8(w), x); }
FIL_INLINE void store_sums(int32_t *to, sums s) { vst1q_s32(to, s); }
#else
enum { WIDE = 16, PARTS = 2 };

typedef struct sums {
  int32x4_t low, high;
} sums;

FIL_INLINE sums none(void) { return (sums){vdupq_n_s32(0), vdupq_n_s32(0)}; }
FIL_INLINE sums add(sums a, sums b) {
  return (sums){vaddq_s32(a.low, b.low), vaddq_s32(a.high, b.high)};
}
FIL_INLINE sums dot(sums s, const int8_t *w, inputs x) {
  int8x16_t weights = vld1q_s8(w);
  s.low = vpadalq_s16(s.low, vmull_s8(vget_low_s8(weights), vget_low_s8(x)));
  s.high = vpadalq_s16(s.high, vmull_high_s8(weights, x));
  return s;
}
FIL_INLINE void store_sums(int32_t *to, sums s) { vst1q_s32(to, s.low), vst1q_s32(to + 4, s.high); }
#endif
FIL_INLINE places places_of(const int8_t bytes[WIDE]) {
  return vreinterpretq_u8_s8(vld1q_s8(bytes));
}
FIL_INLINE inputs spread(const int8_t *x, places by) { return vqtbl1q_s8(vld1q_s8(x), by); }

#elif FIL_TARGET_WASM || FIL_TARGET_WASM_RELAXED
#include <wasm_simd128.h>

enum { WIDE = 16, PARTS = 2 };

typedef struct sums {
  v128_t low, high;
} sums;
typedef v128_t inputs;
typedef v128_t places;

FIL_INLINE sums none(void) { return (sums){wasm_i32x4_splat(0), wasm_i32x4_splat(0)}; }
FIL_INLINE sums add(sums a, sums b) {
  return (sums){wasm_i32x4_add(a.low, b.low), wasm_i32x4_add(a.high, b.high)};
}
FIL_INLINE sums dot(sums s, const int8_t *w, inputs x) {
  v128_t weights = wasm_v128_load(w);
  v128_t low = wasm_i16x8_extmul_low_i8x16(weights, x);
  v128_t high = wasm_i16x8_extmul_high_i8x16(weights, x);
  s.low = wasm_i32x4_add(s.low, wasm_i32x4_extadd_pairwise_i16x8(low));
  s.high = wasm_i32x4_add(s.high, wasm_i32x4_extadd_pairwise_i16x8(high));
  return s;
}
FIL_INLINE void store_sums(int32_t *to, sums s) {
  wasm_v128_store(to, s.low), wasm_v128_store(to + 4, s.high);
}
FIL_INLINE places places_of(const int8_t bytes[WIDE]) { return wasm_v128_load(bytes); }
FIL_INLINE inputs spread(const int8_t *x, places by) {
  return wasm_i8x16_swizzle(wasm_v128_load(x), by);
}
#endif

enum {
  WORDS = WIDE / 4,
  AT_ONCE = 4,  /* vectors of sums */
  CHUNK = 1024, /* columns whose inputs are gathered at a time */
};

/* x: the inputs gathered, in quads, and as many bytes as a vector has behind them.
 * step: bytes of them that the rows of one step multiply. */
typedef struct layer {
  const fil_qspmv_args *a;
  const int8_t *quads;
  const uint8_t *index;
  uint32_t column, step;
  places by;
  int8_t x[CHUNK + WIDE];
} layer;

/* Inputs of the next n columns of a group, and zeros to the end of a quad. */
static void gather(layer *l, uint32_t n) {
  const int8_t *x = l->a->x;
  for (uint32_t i = n; i % FIL_QUAD; i++) l->x[i] = 0;
  const uint16_t *wide = (const uint16_t *)(const void *)l->index;
  switch ((fil_coding)l->a->w.coding) {
  case FIL_CODING_NONE: fil_copy_bytes(l->x, x + l->column, n), l->column += n; return;
  case FIL_CODING_D8:
    for (uint32_t i = 0; i < n; i++) l->x[i] = x[l->column += *l->index++];
    return;
  default:
    for (uint32_t i = 0; i < n; i++) l->x[i] = x[wide[i]];
    l->index += 2 * (size_t)n;
  }
}

/* `bytes` of weights, N vectors to a step. What is left over of a vector has no inputs. */
FIL_INLINE void multiply(layer *l, sums s[AT_ONCE], size_t bytes, const uint32_t N) {
  const int8_t *w = l->quads, *x = l->x;
  size_t left = bytes;
  for (; left >= AT_ONCE * WIDE; left -= AT_ONCE * WIDE, w += AT_ONCE * WIDE)
    for (uint32_t u = 0; u < AT_ONCE / N; u++) { /* once, if N is AT_ONCE */
      inputs v = spread(x, l->by);
      x += l->step;
      FIL_UNROLL(j, N) s[u * N + j] = dot(s[u * N + j], w + (u * N + j) * WIDE, v);
    }
  for (; left >= N * WIDE; left -= N * WIDE, w += N * WIDE, x += l->step) {
    inputs v = spread(x, l->by);
    FIL_UNROLL(j, N) s[j] = dot(s[j], w + j * WIDE, v);
  }
  if (left) {
    int8_t last[WIDE] = {0};
    for (size_t i = 0; i < left; i++) last[i] = w[i];
    s[0] = dot(s[0], last, spread(x, l->by));
  }
  l->quads += bytes;
}

/* The sums of a group of O rows. */
FIL_INLINE void sum_group(layer *l, uint32_t blocks, int32_t *to, const uint32_t N) {
  uint32_t O = l->a->w.block_rows;
  int32_t words[AT_ONCE * WORDS * PARTS];
  sums s[AT_ONCE];
  FIL_UNROLL(u, AT_ONCE) s[u] = none();
  l->column = 0;
  for (uint32_t left = blocks, n; left; left -= n) {
    n = left < CHUNK ? left : CHUNK;
    gather(l, n);
    multiply(l, s, (size_t)fil_quads(n) * O * FIL_QUAD, N);
  }
  FIL_UNROLL(u, AT_ONCE - N) s[u % N] = add(s[u % N], s[u + N]);
  FIL_UNROLL(j, N) store_sums(words + j * WORDS * PARTS, s[j]);
  for (uint32_t i = 0; i < N * WORDS * PARTS; i++) to[i / PARTS % O] += words[i];
}

static void enter(layer *l, const fil_qspmv_args *a) {
  uint32_t side = a->w.block_rows < WORDS ? a->w.block_rows : WORDS; /* rows in a vector */
  int8_t bytes[WIDE];
  for (uint32_t i = 0; i < WIDE; i++) bytes[i] = (int8_t)(i / 4 / side * 4 + i % 4);
  l->a = a, l->quads = a->w.quads, l->index = a->w.index;
  l->by = places_of(bytes), l->step = WORDS / side * FIL_QUAD;
  __builtin_memset(l->x, 0, sizeof l->x);
}

static void run(const fil_qspmv_args *a) {
  const fil_matrix *w = &a->w;
  layer l;
  enter(&l, a);
  for (uint32_t g = 0, row = 0, O = w->block_rows; g < w->groups; g++) {
    int32_t sum[16];
    for (uint32_t r = 0; r < O; r++) sum[r] = w->sums[row + r];
    uint32_t blocks = w->coding == FIL_CODING_NONE ? w->cols : w->count[g];
    if (O <= WORDS) sum_group(&l, blocks, sum, 1);
#if !FIL_TARGET_AVX512
    else if (O == 2 * WORDS) sum_group(&l, blocks, sum, 2);
    else sum_group(&l, blocks, sum, 4);
#endif
    for (uint32_t r = 0; r < O && row < w->rows; r++, row++)
      a->out[row] =
          fil_requantized(sum[r], w->multipliers[row], a->residual ? a->residual + row : 0, &a->q);
  }
}

#if FIL_TARGET_AVX512
FIL_VNNI_END

void fil_qspmv_avx512(const fil_qspmv_args *a) {
  if (fil_has_vnni()) run(a);
  else fil_qspmv_by_isa[FIL_ISA_AVX2](a);
}
#else
void FIL_KERNEL(qspmv)(const fil_qspmv_args *a) { run(a); }
#endif
#endif
