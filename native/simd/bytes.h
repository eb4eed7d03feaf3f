/* Short runs of bytes without a call: as many as are asked for, the last few over those before. */
#ifndef FIL_BYTES_H
#define FIL_BYTES_H
#include <stddef.h>
#include "simd/inline.h"

typedef struct fil_sixteen {
  uint64_t part[2];
} fil_sixteen;

FIL_INLINE void fil_copy_bytes(int8_t *to, const int8_t *from, size_t n) {
  fil_sixteen v, last;
  if (n < 16) {
    if (n >= 8) {
      uint64_t a, b;
      __builtin_memcpy(&a, from, 8), __builtin_memcpy(&b, from + n - 8, 8);
      __builtin_memcpy(to, &a, 8), __builtin_memcpy(to + n - 8, &b, 8);
      return;
    }
    if (n >= 4) {
      uint32_t a, b;
      __builtin_memcpy(&a, from, 4), __builtin_memcpy(&b, from + n - 4, 4);
      __builtin_memcpy(to, &a, 4), __builtin_memcpy(to + n - 4, &b, 4);
      return;
    }
    for (size_t i = 0; i < n; i++) to[i] = from[i];
    return;
  }
  __builtin_memcpy(&last, from + n - 16, 16);
  for (size_t i = 0; i + 16 < n; i += 16) {
    __builtin_memcpy(&v, from + i, 16);
    __builtin_memcpy(to + i, &v, 16);
  }
  __builtin_memcpy(to + n - 16, &last, 16);
}

/* Rows of n bytes, W <= n <= 2 W: two runs of W each, which overlap. */
FIL_INLINE void fil_copy_short_rows(int8_t *to, size_t to_step, const int8_t *from,
                                    size_t from_step, size_t n, size_t rows, const size_t W) {
  for (; rows; rows--, to += to_step, from += from_step) {
    fil_sixteen first = {{0}}, last = {{0}};
    __builtin_memcpy(&first, from, W), __builtin_memcpy(&last, from + n - W, W);
    __builtin_memcpy(to, &first, W), __builtin_memcpy(to + n - W, &last, W);
  }
}

FIL_INLINE void fil_copy_rows(int8_t *to, size_t to_step, const int8_t *from, size_t from_step,
                              size_t n, size_t rows) {
#define ROWS(W) fil_copy_short_rows(to, to_step, from, from_step, n, rows, W)
  if (n > 32)
    for (; rows; rows--, to += to_step, from += from_step) {
      size_t i = 0;
      for (; i + 64 <= n; i += 64) __builtin_memcpy(to + i, from + i, 64);
      for (; i + 16 < n; i += 16) __builtin_memcpy(to + i, from + i, 16);
      __builtin_memcpy(to + n - 16, from + n - 16, 16);
    }
  else if (n >= 16) ROWS(16);
  else if (n >= 8) ROWS(8);
  else if (n >= 4) ROWS(4);
  else if (n >= 2) ROWS(2);
  else if (n) ROWS(1);
#undef ROWS
}

/* N of the pairs from `from` on: of each the first byte, or the second. */
FIL_INLINE void fil_halves_of_pairs(int8_t *to, const int8_t *from, const size_t N,
                                    const int second) {
  uint16_t pair[16];
  int8_t half[16];
  __builtin_memcpy(pair, from, 2 * N);
  for (size_t i = 0; i < N; i++) half[i] = (int8_t)(second ? pair[i] >> 8 : pair[i] & 0xff);
  __builtin_memcpy(to, half, N);
}

/* Every second byte: n of them, and nothing behind the last is read. */
FIL_INLINE void fil_copy_halves(int8_t *to, const int8_t *from, size_t n) {
  size_t i = 0;
  if (n <= 8) {
    for (; i < n; i++) to[i] = from[2 * i];
  } else if (n <= 16) {
    fil_halves_of_pairs(to, from, 8, 0);
    fil_halves_of_pairs(to + n - 8, from + 2 * (n - 8) - 1, 8, 1);
  } else {
    for (; i + 16 < n; i += 16) fil_halves_of_pairs(to + i, from + 2 * i, 16, 0);
    fil_halves_of_pairs(to + n - 16, from + 2 * (n - 16) - 1, 16, 1);
  }
}

/* Whether one of n weights is -128: two products of those are too much for 16 bits. */
FIL_INLINE int fil_has_lowest(const int8_t *w, size_t n) {
  const uint64_t ones = 0x0101010101010101;
  uint64_t found = 0, last = 0;
  for (; n >= 8; n -= 8, w += 8) {
    uint64_t v;
    __builtin_memcpy(&v, w, 8), v ^= ones << 7;
    found |= (v - ones) & ~v;
  }
  for (; n; n--) last |= *w++ == INT8_MIN;
  return last || found & ones << 7;
}

FIL_INLINE void fil_set_bytes(int8_t *to, int8_t value, size_t n) {
  for (; n >= 8; n -= 8, to += 8) {
    uint64_t eight = (uint8_t)value * 0x0101010101010101u;
    __builtin_memcpy(to, &eight, 8);
  }
  for (; n; n--) *to++ = value;
}
#endif
