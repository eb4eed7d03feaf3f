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

FIL_INLINE void fil_set_bytes(int8_t *to, int8_t value, size_t n) {
  for (; n >= 8; n -= 8, to += 8) {
    uint64_t eight = (uint8_t)value * 0x0101010101010101u;
    __builtin_memcpy(to, &eight, 8);
  }
  for (; n; n--) *to++ = value;
}
#endif
