#include "kernels/qspmm/columns.h"

#if FIL_TARGET_AVX512
#include <immintrin.h>
#include "runtime/features.h"
#include "simd/vnni.h"

#define V(op)     V_(op)
#define S(x)      S_(x, W)
#define S_(x, w)  S__(x, w)
#define S__(x, w) x##_##w

#define W      64
#define V_(op) _mm512_##op
#define VI     __m512i
#define VF     __m512
#define VM     __mmask64
#include "kernels/qspmm/vnni.h"
#undef W
#undef V_
#undef VI
#undef VF
#undef VM
#define W      32
#define V_(op) _mm256_##op
#define VI     __m256i
#define VF     __m256
#define VM     __mmask32
#include "kernels/qspmm/vnni.h"
#undef W
#undef V_
#undef VI
#undef VF
#undef VM
#define W      16
#define V_(op) _mm_##op
#define VI     __m128i
#define VF     __m128
#define VM     __mmask16
#include "kernels/qspmm/vnni.h"

/* Positions for which a group is entered: all planes' bytes of them stay near. */
enum { NEAR = 32 << 10, LEAST = 128, MOST = 1024 };

static uint32_t chunk_of(uint32_t cols) {
  uint32_t n = NEAR / cols / 64 * 64;
  return n < LEAST ? LEAST : n < MOST ? n : MOST;
}

FIL_INLINE __m128i sixteen(const int8_t *x) {
  return _mm_loadu_si128((const __m128i *)(const void *)x);
}

/* Weights add up to what 128 more on every input adds to a row's sum. */
static void lower_starts(const fil_matrix *w, group *g) {
  const __m128i ones = _mm_set1_epi8(1);
  uint32_t O = w->block_rows, quads = fil_quads(g->blocks);
  if (O < 4) {
    for (uint32_t i = 0; i < quads * O * FIL_QUAD; i++)
      g->start[i / FIL_QUAD % O] -= 128 * g->quads[i];
    return;
  }
  for (uint32_t r = 0; r < O; r += 4) {
    const int8_t *at = g->quads + r * FIL_QUAD;
    __m128i sum = _mm_setzero_si128(), odd = sum; /* two chains: each waits for itself */
    uint32_t i = 0;
    for (; i + 2 <= quads; i += 2, at += 2 * (size_t)O * FIL_QUAD) {
      sum = _mm_dpbusd_epi32(sum, ones, sixteen(at));
      odd = _mm_dpbusd_epi32(odd, ones, sixteen(at + (size_t)O * FIL_QUAD));
    }
    if (i < quads) sum = _mm_dpbusd_epi32(sum, ones, sixteen(at));
    sum = _mm_add_epi32(sum, odd);
    __m128i start = _mm_loadu_si128((const __m128i *)(const void *)(g->start + r));
    _mm_storeu_si128((__m128i *)(void *)(g->start + r),
                     _mm_sub_epi32(start, _mm_slli_epi32(sum, 7)));
  }
}

static void run_tiles(const fil_qspmm_args *a, const group *g, uint32_t p, uint32_t n) {
  for (; n > 32; p += 64, n -= 64) {
    tile_64(a, g, p, n);
    if (n <= 64) return;
  }
  if (n > 16) tile_32(a, g, p, n);
  else tile_16(a, g, p, n);
}

static void run_vnni(const fil_qspmm_args *a) {
  uint32_t chunk = chunk_of(a->w.cols);
  for (uint32_t p = 0; p < a->positions; p += chunk) {
    uint32_t n = a->positions - p < chunk ? a->positions - p : chunk;
    group g = first_group(&a->w);
    for (uint32_t i = 0; i < a->w.groups; i++) {
      enter_group(&a->w, &g, i);
      lower_starts(&a->w, &g);
      run_tiles(a, &g, p, n);
      leave_group(&a->w, &g);
    }
  }
}
FIL_VNNI_END

void fil_qspmm_avx512(const fil_qspmm_args *a) {
  if (fil_has_vnni()) run_vnni(a);
  else fil_qspmm_by_isa[FIL_ISA_AVX2](a);
}

#elif FIL_TARGET_AVX2
#include <immintrin.h>

enum { T = 16 }; /* positions of a tile */

/* 16 positions of four planes as pairs of 16 bits: to[0], to[1] of the first two planes, the
 * positions in the order in which packing puts them back. Whole vectors of 8 are read. */
FIL_INLINE __m256i load(const int8_t *x, uint32_t n) {
  const __m128i *at = (const __m128i *)(const void *)x;
  return _mm256_cvtepi8_epi16(n > 8 ? _mm_loadu_si128(at) : _mm_loadl_epi64(at));
}

FIL_INLINE void load_quad(const int8_t *const x[4], size_t p, uint32_t n, __m256i to[4]) {
  __m256i a = load(x[0] + p, n), b = load(x[1] + p, n), c = load(x[2] + p, n),
          d = load(x[3] + p, n);
  to[0] = _mm256_unpacklo_epi16(a, b), to[1] = _mm256_unpackhi_epi16(a, b);
  to[2] = _mm256_unpacklo_epi16(c, d), to[3] = _mm256_unpackhi_epi16(c, d);
}

FIL_INLINE __m256i rounded(__m256i sum, __m256 factor, __m256 y, const int more) {
  __m256 x = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), factor);
  if (more) x = _mm256_add_ps(x, y);
  return _mm256_cvtps_epi32(_mm256_min_ps(x, _mm256_set1_ps(32767.0f)));
}

FIL_INLINE __m256 residual(__m256i pair, const fil_rescale *q) {
  __m256i whole =
      _mm256_sub_epi32(_mm256_srai_epi32(pair, 16), _mm256_set1_epi32(q->residual_zero));
  return _mm256_mul_ps(_mm256_cvtepi32_ps(whole), _mm256_set1_ps(q->residual_scale));
}

FIL_INLINE void store_row(const fil_qspmm_args *a, size_t row, size_t p, uint32_t n,
                          const __m256i sum[2], const int more) {
  const fil_rescale *q = &a->q;
  __m256 factor = _mm256_set1_ps(a->w.multipliers[row]), low = factor, high = factor;
  if (more) {
    __m256i y = load(a->residual + row * a->residual_pitch + p, n), none = _mm256_setzero_si256();
    low = residual(_mm256_unpacklo_epi16(none, y), q);
    high = residual(_mm256_unpackhi_epi16(none, y), q);
  }
  __m256i out =
      _mm256_packs_epi32(rounded(sum[0], factor, low, more), rounded(sum[1], factor, high, more));
  out = _mm256_adds_epi16(out, _mm256_set1_epi16((int16_t)q->zero));
  __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(out), _mm256_extracti128_si256(out, 1));
  bytes = _mm_max_epi8(bytes, _mm_set1_epi8((char)q->lo));
  bytes = _mm_min_epi8(bytes, _mm_set1_epi8((char)q->hi));
  __m128i *to = (__m128i *)(void *)(a->out + row * a->out_pitch + p);
  if (n > 8) _mm_storeu_si128(to, bytes);
  else _mm_storel_epi64(to, bytes);
}

/* R rows of a group from its row `first` on. */
FIL_INLINE void rows(const fil_qspmm_args *a, const group *g, uint32_t first, size_t p, uint32_t n,
                     const uint32_t R, const fil_coding coding) {
  __m256i sum[4][2];
  FIL_UNROLL(r, R)
    FIL_UNROLL(j, 2) sum[r][j] = _mm256_set1_epi32(g->start[first + r]);
  const int8_t *w = g->quads + first * FIL_QUAD;
  size_t step = (size_t)a->w.block_rows * FIL_QUAD;
  columns c = columns_of(a, g);
  for (uint32_t i = 0; i < g->blocks; i += FIL_QUAD, w += step) {
    const int8_t *x[4];
    __m256i v[4];
    int32_t pairs[8]; /* of 16 bits, two for each row */
    __m128i bytes = _mm_cvtsi32_si128(four_of(w));
    if (R == 2) bytes = _mm_loadl_epi64((const __m128i *)(const void *)w);
    if (R == 4) bytes = _mm_loadu_si128((const __m128i *)(const void *)w);
    _mm256_storeu_si256((__m256i *)(void *)pairs, _mm256_cvtepi8_epi16(bytes));
    next_quad(&c, g->blocks - i, coding, x);
    load_quad(x, p, n, v);
    FIL_UNROLL(r, R) {
      __m256i front = _mm256_set1_epi32(pairs[2 * r]), back = _mm256_set1_epi32(pairs[2 * r + 1]);
      FIL_UNROLL(j, 2) {
        sum[r][j] = _mm256_add_epi32(sum[r][j], _mm256_madd_epi16(v[j], front));
        sum[r][j] = _mm256_add_epi32(sum[r][j], _mm256_madd_epi16(v[2 + j], back));
      }
    }
  }
  FIL_UNROLL(r, R) {
    size_t row = g->row + first + r;
    if (row >= a->w.rows) return;
    if (a->residual) store_row(a, row, p, n, sum[r], 1);
    else store_row(a, row, p, n, sum[r], 0);
  }
}

static void tile(const fil_qspmm_args *a, const group *g, size_t p, uint32_t n) {
#define PASS(first, R, coding) rows(a, g, first, p, n, R, coding)
  EACH_PASS(a, g, PASS)
#undef PASS
}

void fil_qspmm_avx2(const fil_qspmm_args *a) {
  for (uint32_t p = 0; p < a->positions; p += T) {
    group g = first_group(&a->w);
    for (uint32_t i = 0; i < a->w.groups; i++) {
      enter_group(&a->w, &g, i);
      tile(a, &g, p, a->positions - p < T ? a->positions - p : T);
      leave_group(&a->w, &g);
    }
  }
}

#elif FIL_TARGET_NEON || FIL_TARGET_NEON_DOTPROD || FIL_TARGET_NEON_FP16
#include "kernels/qspmm/neon.h"

#elif FIL_TARGET_HELIUM
#include "kernels/qspmm/helium.h"

#elif FIL_TARGET_DSP
#include "kernels/qspmm/dsp.h"

#elif FIL_TARGET_WASM || FIL_TARGET_WASM_RELAXED
#include "simd/q8_wasm.h"

enum { J = 2 }; /* of x86's 16 registers, all four sums of four rows would take all */

/* Pairs of planes in 16 bits: ab[j], cd[j] are those of positions 4 j to 4 j + 3. */
typedef struct quad {
  v128_t ab[J], cd[J];
} quad;

/* Eight positions, if more than four are there. */
FIL_INLINE v128_t load_wide(const int8_t *x, uint32_t n) {
  if (n > 4) return wasm_i16x8_load8x8(x);
  return wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(x));
}

FIL_INLINE void pairs_of(v128_t a, v128_t b, v128_t to[J]) {
  to[0] = wasm_i16x8_shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  to[1] = wasm_i16x8_shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

FIL_INLINE quad quad_of(const int8_t *const x[4], uint32_t n) {
  quad q;
  pairs_of(load_wide(x[0], n), load_wide(x[1], n), q.ab);
  pairs_of(load_wide(x[2], n), load_wide(x[3], n), q.cd);
  return q;
}

typedef struct qw {
  v128_t rows[2]; /* of two rows each: four weights in 16 bits */
} qw;

FIL_INLINE qw load_weights(const int8_t *w, const uint32_t R) {
  if (R == 4) return (qw){{wasm_i16x8_load8x8(w), wasm_i16x8_load8x8(w + 2 * FIL_QUAD)}};
  if (R == 2) return (qw){{wasm_i16x8_load8x8(w)}};
  return (qw){{wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(w))}};
}

/* Two weights everywhere. */
FIL_INLINE v128_t pair_of(const qw *w, size_t i) {
  v128_t v = w->rows[i / 4];
  switch (i % 4) {
  case 0: return wasm_i32x4_shuffle(v, v, 0, 0, 0, 0);
  case 1: return wasm_i32x4_shuffle(v, v, 1, 1, 1, 1);
  case 2: return wasm_i32x4_shuffle(v, v, 2, 2, 2, 2);
  default: return wasm_i32x4_shuffle(v, v, 3, 3, 3, 3);
  }
}

FIL_INLINE int is_heavy(const fil_matrix *w, const group *g) { return (void)w, (void)g, 0; }

FIL_INLINE s4 dot(s4 sum, const quad *x, const qw *w, size_t r, size_t j, const int heavy) {
  (void)heavy;
  sum = wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(x->ab[j], pair_of(w, 2 * r)));
  return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(x->cd[j], pair_of(w, 2 * r + 1)));
}
#include "kernels/qspmm/sixteen.h"

void FIL_KERNEL(qspmm)(const fil_qspmm_args *a) { run(a); }
#endif
