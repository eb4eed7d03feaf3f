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

static inline uint32_t fil_soft_start(int32_t zero) {
  return ((uint32_t)zero << FIL_SOFT_POINT) + (1u << (FIL_SOFT_POINT - 1));
}

/* multiplier = mantissa * 2^(power - 150), and sums of 2^n or more are past the limit: 15 bits of
 * a sum are kept and 16 of the multiplier, or more where sums are shorter. What is under 2^-32
 * makes 0 of every sum; floats alone serve 2^-23 up to 2^-22, and 128 and more. */
static inline fil_soft fil_soft_of(float multiplier, int32_t zero) {
  union {
    float value;
    uint32_t bits;
  } u = {multiplier};
  uint32_t power = u.bits >> 23, mantissa = (u.bits & 0x7fffff) | 0x800000, n = 135 - power;
  fil_soft f = {.multiplier = multiplier, .limit = 0x80000000u, .unsure = UINT32_MAX};
  if (power < 95) f.start = fil_soft_start(zero), f.unsure = 0;
  if (power < 95 || power == 104 || power > 133) return f;
  uint32_t shift = n > 15 ? n - 15 : 0, up = shift + power + 24, dropped = 0;
  if (n < 31) f.limit = mantissa < 0xc00000 ? 1u << n : 3u << (n - 2);
  f.shift = (uint8_t)shift;
  /* mantissa * 2^(up - 152), rounded */
  f.times = (int32_t)(up < 152 ? ((mantissa >> (151 - up)) + 1) >> 1 : mantissa << (up - 152));
  if (shift) dropped = (uint32_t)f.times / 2; /* the middle of what a sum's last bits come to */
  uint32_t error = dropped + (f.limit >> shift) / 2 + 256; /* floats: 192 at most */
  f.start = fil_soft_start(zero) + dropped + error;
  f.unsure = error << (FIL_SOFT_DECIDES + 1);
  return f;
}

/* Within the limit a product needs no bounds before it is rounded. */
static __attribute__((noinline, unused)) int8_t fil_soft_asked(int32_t sum, const fil_soft *f,
                                                               const fil_rescale *q) {
  float x = (float)sum * f->multiplier;
  if (f->unsure == UINT32_MAX) return fil_rescaled(x, q);
  return fil_kept(fil_roundf(x) + q->zero, q);
}

/* 0: floats have to be asked. */
FIL_INLINE int fil_soft_knows(int32_t sum, const fil_soft *f, const fil_rescale *q, int8_t *to) {
  int32_t x = sum < 0 ? q->lo : q->hi;
  if ((uint32_t)sum + f->limit <= 2 * f->limit - 1) {
    uint32_t found = (uint32_t)((sum >> f->shift) * f->times) + f->start;
    if (found << FIL_SOFT_DECIDES < f->unsure) return 0;
    x = fil_kept((int32_t)found >> FIL_SOFT_POINT, q);
  }
  *to = (int8_t)x;
  return 1;
}

static __attribute__((noinline, unused)) void
fil_soft_row(int8_t *out, const int32_t *sum, uint32_t n, const fil_soft *f, const fil_rescale *q) {
  const fil_soft own = *f; /* not out's to change */
  const fil_rescale bounds = *q;
  for (uint32_t i = 0; i < n; i++) {
    int8_t made;
    if (!fil_soft_knows(sum[i], &own, &bounds, &made)) made = fil_soft_asked(sum[i], f, q);
    out[i] = made;
  }
}
#endif
