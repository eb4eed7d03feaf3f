/* qspmm on AVX-512 VNNI. simd.c includes this once per vector width, with
 *   W        positions of a tile, a byte each in a vector: 64, 32 or 16
 *   V(op)    the intrinsic of that width; VI, VF: its vectors; VM: a mask of its bytes
 *   S(name)  name with W behind it
 * A quad's four planes are interleaved to four vectors of W / 4 positions x 4 bytes, in the order
 * in which packing puts them back. The dot product takes bytes without a sign on one side: inputs
 * are 128 more than they are, and each sum starts 128 x (sum of its weights) lower. */

FIL_INLINE VI S(load)(const int8_t *x, VM mask) {
  return V(xor_epi32)(V(maskz_loadu_epi8)(mask, x), V(set1_epi8)(-128));
}

FIL_INLINE void S(load_quad)(const int8_t *const x[4], size_t p, VM mask, VI to[4]) {
  VI a = S(load)(x[0] + p, mask), b = S(load)(x[1] + p, mask);
  VI c = S(load)(x[2] + p, mask), d = S(load)(x[3] + p, mask);
  VI ab = V(unpacklo_epi8)(a, b), cd = V(unpacklo_epi8)(c, d);
  to[0] = V(unpacklo_epi16)(ab, cd), to[1] = V(unpackhi_epi16)(ab, cd);
  ab = V(unpackhi_epi8)(a, b), cd = V(unpackhi_epi8)(c, d);
  to[2] = V(unpacklo_epi16)(ab, cd), to[3] = V(unpackhi_epi16)(ab, cd);
}

/* Rounded and packed to 16 bits; what is over int32 after the product ends at the right end. */
FIL_INLINE VI S(halves)(VI low, VI high, VF factor, VF more_low, VF more_high, const int more) {
  VF a = V(mul_ps)(V(cvtepi32_ps)(low), factor), b = V(mul_ps)(V(cvtepi32_ps)(high), factor);
  if (more) a = V(add_ps)(a, more_low), b = V(add_ps)(b, more_high);
  const VF top = V(set1_ps)(32767.0f);
  return V(packs_epi32)(V(cvtps_epi32)(V(min_ps)(a, top)), V(cvtps_epi32)(V(min_ps)(b, top)));
}

/* A residual's part of the results in the order of sums: four vectors. */
FIL_INLINE void S(load_residual)(const int8_t *y, VM mask, const fil_rescale *q, VF to[4]) {
  const VI zero = V(set1_epi32)(q->residual_zero);
  const VF scale = V(set1_ps)(q->residual_scale);
  VI x = V(maskz_loadu_epi8)(mask, y), sign = V(set1_epi8)(0);
  VI low = V(unpacklo_epi8)(sign, x), high = V(unpackhi_epi8)(sign, x); /* in the upper halves */
  VI four[4] = {V(unpacklo_epi16)(sign, low), V(unpackhi_epi16)(sign, low),
                V(unpacklo_epi16)(sign, high), V(unpackhi_epi16)(sign, high)};
  FIL_UNROLL(i, 4) {
    VI whole = V(sub_epi32)(V(srai_epi32)(four[i], 24), zero);
    to[i] = V(mul_ps)(V(cvtepi32_ps)(whole), scale);
  }
}

FIL_INLINE void S(store_row)(const fil_qspmm_args *a, size_t row, size_t p, VM mask, VI sum[4],
                             const int more) {
  VF factor = V(set1_ps)(a->w.multipliers[row]), y[4] = {factor, factor, factor, factor};
  if (more) S(load_residual)(a->residual + row * a->residual_pitch + p, mask, &a->q, y);
  const VI zero = V(set1_epi16)((int16_t)a->q.zero);
  VI low = V(adds_epi16)(S(halves)(sum[0], sum[1], factor, y[0], y[1], more), zero);
  VI high = V(adds_epi16)(S(halves)(sum[2], sum[3], factor, y[2], y[3], more), zero);
  VI out = V(max_epi8)(V(packs_epi16)(low, high), V(set1_epi8)((char)a->q.lo));
  out = V(min_epi8)(out, V(set1_epi8)((char)a->q.hi));
  V(mask_storeu_epi8)(a->out + row * a->out_pitch + p, mask, out);
}

/* R rows of a group from its row `first` on. */
FIL_INLINE void S(rows)(const fil_qspmm_args *a, const group *g, uint32_t first, size_t p, VM mask,
                        const uint32_t R, const fil_coding coding) {
  VI sum[4][4];
  FIL_UNROLL(r, R)
    FIL_UNROLL(j, 4) sum[r][j] = V(set1_epi32)(g->start[first + r]);
  const int8_t *w = g->quads + first * FIL_QUAD;
  size_t step = (size_t)a->w.block_rows * FIL_QUAD;
  columns c = columns_of(a, g);
  for (uint32_t i = 0; i < g->blocks; i += FIL_QUAD, w += step) {
    const int8_t *x[4];
    VI v[4];
    next_quad(&c, g->blocks - i, coding, x);
    S(load_quad)(x, p, mask, v);
    FIL_UNROLL(r, R) {
      VI weight = V(set1_epi32)(four_of(w + r * FIL_QUAD));
      FIL_UNROLL(j, 4) sum[r][j] = V(dpbusd_epi32)(sum[r][j], v[j], weight);
    }
  }
  FIL_UNROLL(r, R) {
    size_t row = g->row + first + r;
    if (row >= a->w.rows) return;
    if (a->residual) S(store_row)(a, row, p, mask, sum[r], 1);
    else S(store_row)(a, row, p, mask, sum[r], 0);
  }
}

__attribute__((noinline)) static void S(tile)(const fil_qspmm_args *a, const group *g, size_t p,
                                              uint32_t n) {
  VM mask = (VM)(n >= W ? (uint64_t)-1 : ((uint64_t)1 << n) - 1);
#define PASS(first, R, coding) S(rows)(a, g, first, p, mask, R, coding)
  EACH_PASS(a, g, PASS)
#undef PASS
}
