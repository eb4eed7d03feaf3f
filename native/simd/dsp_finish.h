/* How sums become bytes on Cortex-M, four at a time. */
#ifndef FIL_DSP_FINISH_H
#define FIL_DSP_FINISH_H
#include "kernels/q8.h"
#include "simd/dsp.h"

/* lo, hi: bytes, four times. rises: results are -128, where zero is, or more, as behind a ReLU. */
typedef struct finish {
  const fil_rescale *q;
  uint32_t lo, hi;
  int rises;
} finish;

static finish finish_of(const fil_rescale *q) {
  finish f = {.q = q, .rises = q->zero == -128 && q->lo == -128 && q->hi == 127};
  f.lo = (uint8_t)q->lo * 0x01010101u, f.hi = (uint8_t)q->hi * 0x01010101u;
  return f;
}

#if FIL_HAS_DSP
/* One step: four sums at %0, of which the narrowed bytes go to %1; the factor in s4. */
#define DSP_FOUR(factor, narrow, next)                                                             \
  "1: vldmia %0, {s0-s3}\n add %0, %0, %7\n" factor                                                \
  "vcvt.f32.s32 s0, s0\n vcvt.f32.s32 s1, s1\n vcvt.f32.s32 s2, s2\n vcvt.f32.s32 s3, s3\n"        \
  "vmul.f32 s0, s0, s4\n vmul.f32 s1, s1, s4\n vmul.f32 s2, s2, s4\n vmul.f32 s3, s3, s4\n"        \
  "vcvtr.s32.f32 s0, s0\n vcvtr.s32.f32 s1, s1\n"                                                  \
  "vcvtr.s32.f32 s2, s2\n vcvtr.s32.f32 s3, s3\n"                                                  \
  "vmov %3, %4, s0, s1\n vmov %5, %6, s2, s3\n" narrow next "subs %2, %2, #1\n bne 1b"
#define DSP_JOIN "bfi %3, %4, #8, #8\n bfi %3, %5, #16, #8\n bfi %3, %6, #24, #8\n"
/* Results from the zero -128 up to 127, and any. */
#define DSP_UP                                                                                     \
  "usat %3, #8, %3\n usat %4, #8, %4\n usat %5, #8, %5\n usat %6, #8, %6\n" DSP_JOIN               \
  "eor %3, %3, %10\n"
#define DSP_ANY                                                                                    \
  "qadd %3, %3, %10\n qadd %4, %4, %10\n qadd %5, %5, %10\n qadd %6, %6, %10\n"                    \
  "ssat %3, #8, %3\n ssat %4, #8, %4\n ssat %5, #8, %5\n ssat %6, #8, %6\n" DSP_JOIN               \
  "ssub8 %4, %3, %11\n sel %3, %3, %11\n ssub8 %4, %3, %12\n sel %3, %12, %3\n"
#define DSP_RUN(body)                                                                              \
  __asm__ volatile(body                                                                            \
                   : "+r"(sum), "+r"(to), "+r"(fours), "=&r"(a), "=&r"(b), "=&r"(c), "=&r"(d)      \
                   : "r"(step * sizeof *sum), "r"(factor), "r"(pitch), "r"(k), "r"(f->lo),         \
                     "r"(f->hi)                                                                    \
                   : "s0", "s1", "s2", "s3", "s4", "cc", "memory")
#define DSP_ALONG(narrow)  "vldr s4, [%8]\n" DSP_FOUR("", narrow, "str %3, [%1], #4\n")
#define DSP_ACROSS(narrow) DSP_FOUR("vldmia %8!, {s4}\n", narrow, "str %3, [%1]\n add %1, %9\n")

/* Fours of sums, `step` sums from four to four, to results side by side; none has a residual. */
static __attribute__((noinline)) void finish_run(const finish *f, const float *factor,
                                                 const int32_t *sum, size_t step, int8_t *to,
                                                 uint32_t fours) {
  uint32_t a, b, c, d, k = f->rises ? 0x80808080u : (uint32_t)f->q->zero, pitch = 0;
  if (!fours) return;
  if (f->rises) DSP_RUN(DSP_ALONG(DSP_UP));
  else DSP_RUN(DSP_ALONG(DSP_ANY));
}

/* Four sums of each of some rows, to rows of results `pitch` apart. */
static inline void finish_column(const finish *f, const float *factor, const int32_t *sum,
                                 int8_t *to, size_t pitch, uint32_t fours) {
  uint32_t a, b, c, d, k = f->rises ? 0x80808080u : (uint32_t)f->q->zero;
  const size_t step = 4;
  if (f->rises) DSP_RUN(DSP_ACROSS(DSP_UP));
  else DSP_RUN(DSP_ACROSS(DSP_ANY));
}
#else
static void finish_run(const finish *f, const float *factor, const int32_t *sum, size_t step,
                       int8_t *to, uint32_t fours) {
  for (; fours; fours--, sum += step, to += 4)
    for (uint32_t i = 0; i < 4; i++) to[i] = fil_requantized(sum[i], *factor, 0, f->q);
}
static inline void finish_column(const finish *f, const float *factor, const int32_t *sum,
                                 int8_t *to, size_t pitch, uint32_t fours) {
  for (; fours; fours--, factor++, sum += 4, to += pitch) finish_run(f, factor, sum, 0, to, 1);
}
#endif

/* As finish_run, with residuals at y if that is not NULL. */
static void finish_fours(const finish *f, const float *factor, const int32_t *sum, size_t step,
                         const int8_t *y, int8_t *to, uint32_t fours) {
  if (!y) {
    finish_run(f, factor, sum, step, to, fours);
    return;
  }
  for (; fours; fours--, sum += step, y += 4, to += 4)
    for (uint32_t i = 0; i < 4; i++) to[i] = fil_requantized(sum[i], *factor, y + i, f->q);
}
#endif
