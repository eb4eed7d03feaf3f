#include "kernels/dwconv/layout.h"
#include "kernels/q8.h"
#include "simd/bytes.h"

#if FIL_TARGET_AVX512
#include <immintrin.h>
#include "runtime/features.h"
#include "simd/vnni.h"

/* For T outputs of a row, four taps side by side are one shuffle of what is loaded, and one dot
 * product. A mask leaves out what lies outside the row, and its zero stands there. Inputs are 128
 * more than they are, and sums start 128 x (sum of the weights) lower (qspmm/vnni.h). */
enum { T = 16, MOST_KW = 8, MOST_KH = 8, QUADS = MOST_KW / FIL_QUAD };

typedef struct plane {
  const fil_qdwconv_args *a;
  const int8_t *x;
  __m512i weights[MOST_KH][QUADS], start;
  __m512i places[QUADS],
      bytes;             /* of a quad: which dwords go to each four outputs, in which order */
  __m512i pairs, joined; /* of rows_in_pairs: bytes of eight outputs twice, sums of both in a row */
  __m512i outside, no_row, flip;
  __m512 factor;
  __mmask64 inside; /* of the strip's 64 columns from `column` on */
  __mmask16 outs;
  int64_t column;
  uint32_t row;
} plane;

FIL_INLINE __m512i load_row(const plane *b, uint32_t y) {
  const fil_conv *g = b->a->g;
  if (y >= g->in_h) return b->no_row;
  if (y >= b->a->ring) y %= b->a->ring;
  const int8_t *x = b->x + (int64_t)y * g->in_w + b->column;
  return _mm512_xor_si512(_mm512_mask_loadu_epi8(b->outside, b->inside, x), b->flip);
}

FIL_INLINE __m512i quad_of(const plane *b, __m512i x, uint32_t i) {
  return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(b->places[i], x), b->bytes);
}

FIL_INLINE void store(const plane *b, size_t at, __m512i sum) {
  const fil_qdwconv_args *a = b->a;
  const fil_rescale *q = &a->q;
  __m512 x = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), b->factor);
  if (a->residual) {
    const int8_t *y = a->residual + (size_t)b->row * a->residual_pitch + at;
    __m512i whole = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(b->outs, y));
    whole = _mm512_sub_epi32(whole, _mm512_set1_epi32(q->residual_zero));
    __m512 more = _mm512_mul_ps(_mm512_cvtepi32_ps(whole), _mm512_set1_ps(q->residual_scale));
    x = _mm512_add_ps(x, more);
  }
  __m512i whole = _mm512_cvtps_epi32(_mm512_min_ps(x, _mm512_set1_ps(32767.0f)));
  __m256i half = _mm512_cvtsepi32_epi16(whole);
  half = _mm256_adds_epi16(half, _mm256_set1_epi16((int16_t)q->zero));
  __m128i out = _mm_max_epi8(_mm256_cvtsepi16_epi8(half), _mm_set1_epi8((char)q->lo));
  out = _mm_min_epi8(out, _mm_set1_epi8((char)q->hi));
  _mm_mask_storeu_epi8(a->out + (size_t)b->row * a->out_pitch + at, b->outs, out);
}

/* 3 rows of taps, stride 1: each input row is shuffled once and goes to three outputs. */
static void strip_of_3(const plane *b, uint32_t p) {
  const fil_conv *g = b->a->g;
  uint32_t y = b->a->first - g->pad_top; /* wraps above the input */
  const __m512i w0 = b->weights[0][0], w1 = b->weights[1][0], w2 = b->weights[2][0];
  __m512i v = quad_of(b, load_row(b, y), 0), ends = _mm512_dpbusd_epi32(b->start, v, w0), goes;
  v = quad_of(b, load_row(b, y + 1), 0);
  ends = _mm512_dpbusd_epi32(ends, v, w1);
  goes = _mm512_dpbusd_epi32(b->start, v, w0);
  for (uint32_t i = 0; i < b->a->rows; i++, p += g->out_w) {
    v = quad_of(b, load_row(b, y + 2 + i), 0);
    store(b, p, _mm512_dpbusd_epi32(ends, v, w2));
    ends = _mm512_dpbusd_epi32(goes, v, w1);
    goes = _mm512_dpbusd_epi32(b->start, v, w0);
  }
}

static void strip(const plane *b, uint32_t p, const uint32_t quads) {
  const fil_conv *g = b->a->g;
  for (uint32_t i = 0; i < b->a->rows; i++, p += g->out_w) {
    uint32_t y = (b->a->first + i) * g->sh - g->pad_top; /* wraps above the input */
    __m512i sum = b->start;
    for (uint32_t ky = 0; ky < g->kh; ky++) {
      __m512i x = load_row(b, y + ky * g->dh);
      for (uint32_t k = 0; k < quads; k++)
        sum = _mm512_dpbusd_epi32(sum, quad_of(b, x, k), b->weights[ky][k]);
    }
    store(b, p, sum);
  }
}

FIL_INLINE __m128i load_narrow(const plane *b, uint32_t y) {
  const fil_conv *g = b->a->g;
  if (y >= g->in_h) return _mm512_castsi512_si128(b->no_row);
  if (y >= b->a->ring) y %= b->a->ring;
  const int8_t *x = b->x + (int64_t)y * g->in_w + b->column;
  __m128i row = _mm_mask_loadu_epi8(_mm512_castsi512_si128(b->outside), (__mmask16)b->inside, x);
  return _mm_xor_si128(row, _mm512_castsi512_si128(b->flip));
}

FIL_INLINE __m512i quads_of(__m128i low, __m128i high, __m512i bytes) {
  __m512i both = _mm512_castsi256_si512(_mm256_broadcastsi128_si256(low));
  both = _mm512_inserti64x4(both, _mm256_broadcastsi128_si256(high), 1);
  return _mm512_shuffle_epi8(both, bytes);
}

/* 3 rows of taps, stride 1, at most 8 columns: two rows of outputs in a vector. Rows of outputs
 * lie one behind the other, so that both are one store. */
static void rows_in_pairs(plane *b) {
  const fil_conv *g = b->a->g;
  uint32_t y = b->a->first - g->pad_top, n = g->out_w; /* y wraps above the input */
  const __m512i w0 = b->weights[0][0], w1 = b->weights[1][0], w2 = b->weights[2][0];
  const __m512i by = b->pairs, order = b->joined;
  __m128i last = load_narrow(b, y + 1);
  __m512i top = quads_of(load_narrow(b, y), last, by);
  for (uint32_t i = 0; i < b->a->rows; i += 2) {
    __m128i next = load_narrow(b, y + i + 2), after = load_narrow(b, y + i + 3);
    __m512i sum = _mm512_dpbusd_epi32(b->start, top, w0);
    sum = _mm512_dpbusd_epi32(sum, quads_of(last, next, by), w1);
    last = after, top = quads_of(next, after, by);
    sum = _mm512_dpbusd_epi32(sum, top, w2);
    b->outs = (__mmask16)((1u << (i + 1 < b->a->rows ? 2 * n : n)) - 1);
    store(b, (size_t)i * n, _mm512_permutexvar_epi32(order, sum));
  }
}

static void enter_plane(plane *b, uint32_t r) {
  const fil_conv *g = b->a->g;
  const int8_t *w = b->a->w.quads + (size_t)r * fil_quads((uint32_t)g->kh * g->kw) * FIL_QUAD;
  const __mmask16 taps = (__mmask16)((1u << g->kw) - 1);
  __m128i sum = _mm_setzero_si128();
  for (uint32_t ky = 0; ky < g->kh; ky++, w += g->kw) {
    __m128i row = _mm_maskz_loadu_epi8(taps, w);
    b->weights[ky][0] = _mm512_broadcastd_epi32(row);
    b->weights[ky][1] = _mm512_broadcastd_epi32(_mm_srli_si128(row, FIL_QUAD));
    sum = _mm_dpbusd_epi32(sum, _mm_set1_epi8(-128), row);
  }
  sum = _mm_add_epi32(sum, _mm_srli_si128(sum, FIL_QUAD));
  b->row = r;
  b->x = b->a->x + (size_t)r * b->a->x_pitch;
  b->start = _mm512_set1_epi32(b->a->w.sums[r] - _mm_cvtsi128_si32(sum));
  b->factor = _mm512_set1_ps(b->a->w.multipliers[r]);
}

static uint64_t ones(int64_t n) {
  return n <= 0 ? 0 : n >= 64 ? (uint64_t)-1 : ((uint64_t)1 << n) - 1;
}

/* Columns [column, column + 64) of the input, those that the strip's outputs read and that exist.
 */
static void enter_strip(plane *b, uint32_t p) {
  const fil_conv *g = b->a->g;
  uint32_t n = g->out_w - p < T ? g->out_w - p : T;
  b->column = (int64_t)p * g->sw - g->pad_left;
  int64_t end = (int64_t)g->in_w - b->column, need = (int64_t)(n - 1) * g->sw + g->kw;
  b->inside = ones(end < need ? end : need) & ~ones(-b->column);
  b->outs = (__mmask16)((1u << n) - 1);
}

static plane plane_of(const fil_qdwconv_args *a) {
  plane b = {.a = a, .flip = _mm512_set1_epi8(-128)};
  int32_t places[16];
  int8_t bytes[64];
  for (int i = 0; i < 16; i++) places[i] = i / 4 * a->g->sw + i % 4;
  for (int i = 0; i < 64; i++) bytes[i] = (int8_t)(i % 16 / 4 * a->g->sw + i % 4);
  for (int k = 0; k < QUADS; k++)
    b.places[k] = _mm512_add_epi32(_mm512_loadu_si512(places), _mm512_set1_epi32(k));
  b.bytes = _mm512_loadu_si512(bytes);
  int32_t n = a->g->out_w < 8 ? (int32_t)a->g->out_w : 8;
  for (int32_t i = 0; i < 16; i++) places[i] = i < n ? i : 8 + (i - n) % 8;
  for (int i = 0; i < 64; i++) bytes[i] = (int8_t)(i % 32 / 4 + i % 4);
  b.joined = _mm512_loadu_si512(places), b.pairs = _mm512_loadu_si512(bytes);
  b.outside = _mm512_set1_epi8((char)a->x_zero);
  b.no_row = _mm512_xor_si512(b.outside, b.flip);
  return b;
}

static void run_vnni(const fil_qdwconv_args *a) {
  const fil_conv *g = a->g;
  plane b = plane_of(a);
  int three = g->kh == 3 && g->sh == 1 && g->dh == 1 && g->kw <= FIL_QUAD;
  int narrow = three && g->sw == 1 && g->out_w <= T / 2;
  for (uint32_t r = 0; r < a->w.rows; r++) {
    enter_plane(&b, r);
    for (uint32_t p = 0; p < g->out_w; p += T) {
      enter_strip(&b, p);
      if (narrow) rows_in_pairs(&b);
      else if (three) strip_of_3(&b, p);
      else if (g->kw <= FIL_QUAD) strip(&b, p, 1);
      else strip(&b, p, QUADS);
    }
  }
}
FIL_VNNI_END

static int fits(const fil_conv *g) {
  return g->kw <= MOST_KW && g->kh <= MOST_KH && g->sw <= 2 && g->dw == 1;
}

void fil_qdwconv_avx512(const fil_qdwconv_args *a) {
  if (fil_has_vnni() && fits(a->g)) run_vnni(a);
  else fil_qdwconv_by_isa[FIL_ISA_AVX2](a);
}

#elif FIL_TARGET_AVX2
#include <immintrin.h>
#include "kernels/qdwconv/words.h"

FIL_INLINE __m256i load(const int16_t *x) {
  return _mm256_loadu_si256((const __m256i *)(const void *)x);
}

FIL_INLINE void sum_strip(const plane *b, const int16_t *x, int32_t sums[T], const int narrow) {
  (void)narrow;
  __m256i low = _mm256_set1_epi32(b->a->w.sums[b->row]), high = low;
  for (uint32_t k = 0; k < b->taps; k += 2) {
    __m256i u = load(x + b->offset[k]), v = load(x + b->offset[k + 1]);
    __m256i w = _mm256_set1_epi32(b->w.pairs[k / 2]);
    low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(u, v), w));
    high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(u, v), w));
  }
  /* lanes of 4: the low ones are 0 to 3 and 8 to 11 */
  __m256i *to = (__m256i *)(void *)sums;
  _mm256_storeu_si256(to, _mm256_permute2x128_si256(low, high, 0x20));
  _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(low, high, 0x31));
}

void fil_qdwconv_avx2(const fil_qdwconv_args *a) { run(a); }

#elif FIL_TARGET_NEON || FIL_TARGET_NEON_DOTPROD || FIL_TARGET_NEON_FP16
#include "simd/q8_neon.h"
/* after the vectors */
#include "kernels/qdwconv/neon.h"

void FIL_KERNEL(qdwconv)(const fil_qdwconv_args *a) { run(a); }

#elif FIL_TARGET_HELIUM
#include "kernels/qdwconv/helium.h"

#elif FIL_TARGET_DSP
#include "kernels/qdwconv/dsp.h"

#elif FIL_TARGET_WASM || FIL_TARGET_WASM_RELAXED
#include "simd/q8_wasm.h"
/* after the vectors */
#include "kernels/qdwconv/wasm.h"

void FIL_KERNEL(qdwconv)(const fil_qdwconv_args *a) { run(a); }
#endif
