/* What float32 makes of a row's sums, without floats, to the same bits; the end of q8.h.
 * sum * multiplier is approximated in 32 bits, 22 of them behind the point. Floats are asked only
 * where that lies so near to a half that what they and this round off could decide. */
#ifndef FIL_Q8_SOFT_H
#define FIL_Q8_SOFT_H

enum { FIL_SOFT_POINT = 22, FIL_SOFT_DECIDES = 32 - FIL_SOFT_POINT };

/* From the limit on a product is 256 or more, past any bound; up to it 384 or less, so that
 * (sum >> shift) * times + start does not overflow: the result, half a step and the error too
 * high. What is behind its point is then 0 to twice the error (unsure, shifted to the top) where
 * the error could decide. */
typedef struct fil_soft {
  float multiplier;
  uint32_t limit, start, unsure;
  int32_t times;
  uint8_t shift;
} fil_soft;

/* multiplier = mantissa * 2^(power - 150), and sums of 2^n or more are past the limit: 15 bits of
 * a sum are kept and 16 of the multiplier, or more where sums are shorter. Floats alone serve what
 * is under 2^-22 or 128 and more. */
static inline fil_soft fil_soft_of(float multiplier, int32_t zero) {
  union {
    float value;
    uint32_t bits;
  } u = {multiplier};
  uint32_t power = u.bits >> 23, mantissa = (u.bits & 0x7fffff) | 0x800000, n = 135 - power;
  fil_soft f = {.multiplier = multiplier, .limit = 0x80000000u, .unsure = UINT32_MAX};
  if (power < 105 || power > 133) return f;
  uint32_t shift = n > 15 ? n - 15 : 0, up = shift + power + 24, dropped = 0;
  f.limit = mantissa < 0xc00000 ? 1u << n : 3u << (n - 2);
  f.shift = (uint8_t)shift;
  /* mantissa * 2^(up - 152), rounded */
  f.times = (int32_t)(up < 152 ? ((mantissa >> (151 - up)) + 1) >> 1 : mantissa << (up - 152));
  if (shift) dropped = (uint32_t)f.times / 2; /* the middle of what a sum's last bits come to */
  uint32_t error = dropped + (f.limit >> shift) / 2 + 256; /* floats: 192 at most */
  f.start = ((uint32_t)zero << FIL_SOFT_POINT) + (1u << (FIL_SOFT_POINT - 1)) + dropped + error;
  f.unsure = error << (FIL_SOFT_DECIDES + 1);
  return f;
}

static __attribute__((noinline, unused)) int8_t fil_soft_asked(int32_t sum, float multiplier,
                                                               const fil_rescale *q) {
  return fil_rescaled((float)sum * multiplier, q);
}

static inline int8_t fil_soft_rounded(int32_t sum, const fil_soft *f, const fil_rescale *q) {
  if ((uint32_t)sum + f->limit > 2 * f->limit - 1) return (int8_t)(sum < 0 ? q->lo : q->hi);
  uint32_t x = (uint32_t)((sum >> f->shift) * f->times) + f->start;
  if (x << FIL_SOFT_DECIDES < f->unsure) return fil_soft_asked(sum, f->multiplier, q);
  return fil_kept((int32_t)x >> FIL_SOFT_POINT, q);
}
#endif
