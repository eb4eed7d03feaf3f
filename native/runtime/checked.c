#include "runtime/checked.h"
#include "filigree/format.h"

uint32_t fil_narrow(uint64_t x) { return x >> 32 ? UINT32_MAX : (uint32_t)x; }

uint32_t fil_mul(uint32_t a, uint32_t b) { return fil_narrow((uint64_t)a * b); }

uint32_t fil_add(uint32_t a, uint32_t b) { return a > UINT32_MAX - b ? UINT32_MAX : a + b; }

uint32_t fil_reach(uint32_t base, uint32_t count, uint32_t stride) {
  return count ? fil_narrow((uint64_t)(count - 1) * stride + base) : UINT32_MAX;
}

uint32_t fil_round_up(uint32_t x, uint32_t step) {
  uint32_t up = fil_add(x, step - 1);
  return up == UINT32_MAX ? up : up & ~(step - 1);
}

uint64_t fil_work(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  const uint32_t factors[] = {a, b, c, d};
  uint64_t n = 1;
  for (int i = 0; i < 4; i++) {
    if (factors[i] > FIL_MAX_ELEMENTS || (n >> 20) * factors[i] >> 20) return UINT64_MAX;
    n *= factors[i]; /* below 2^49: nothing here can wrap */
  }
  return n;
}

int fil_within(uint32_t offset, uint32_t bytes, uint32_t limit) {
  return offset <= limit && bytes <= limit - offset;
}

int fil_overlap(uint32_t a, uint32_t a_bytes, uint32_t b, uint32_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}
