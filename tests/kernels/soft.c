/* soft COUNT: results of int8 that were rounded in integers (kernels/q8_soft.h) beside those of
 * floats, COUNT multipliers of every size, each with sums of every size and around the halves.
 * Prints how many there were, or the first that differs. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "kernels/q8.h"

static uint64_t seed = 1, cases;

static uint32_t draw(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 32);
}

static int32_t between(int32_t least, int32_t most) {
  return least + (int32_t)(draw() % (uint32_t)(most - least + 1));
}

/* Of every size, and often as scales are; its last bits are often zeros or ones. */
static float a_multiplier(uint32_t i) {
  union {
    uint32_t bits;
    float value;
  } u;
  uint32_t power = i % 2 ? 90 + draw() % 48 : draw() % 255, few = draw() % 24;
  uint32_t mantissa = draw() & 0x7fffff, ends = (1u << few) - 1;
  if (i % 3 == 1) mantissa &= ~ends;
  if (i % 3 == 2) mantissa |= ends;
  u.bits = power << 23 | mantissa;
  return u.bits ? u.value : 1;
}

static void look(int32_t sum, const fil_soft *f, const fil_rescale *q) {
  int8_t want = fil_requantized(sum, f->multiplier, 0, q), got;
  fil_soft_row(&got, &sum, 1, f, q);
  cases++;
  if (got == want) return;
  printf("%" PRId32 " * %a, zero %" PRId32 ": %d, not %d\n", sum, (double)f->multiplier, q->zero,
         got, want);
  exit(1);
}

static void around(double sum, const fil_soft *f, const fil_rescale *q) {
  for (int32_t i = -2; i <= 2; i++)
    if (fabs(sum) < 2147483000.0) look((int32_t)llrint(sum) + i, f, q);
}

int main(int argc, char **argv) {
  uint32_t count = argc > 1 ? (uint32_t)strtoul(argv[1], 0, 10) : 0;
  static const int32_t ends[] = {INT32_MIN, INT32_MIN + 1, INT32_MAX, -1, 0, 1};
  for (uint32_t i = 0; i < count; i++) {
    fil_rescale q = {.zero = between(-128, 127), .lo = -128, .hi = 127};
    if (i % 4 == 1) q.lo = between(-128, 127), q.hi = between(q.lo, 127);
    float multiplier = a_multiplier(i);
    fil_soft f = fil_soft_of(multiplier, q.zero);
    for (uint32_t k = 0; k < sizeof ends / sizeof *ends; k++) look(ends[k], &f, &q);
    for (uint32_t k = 0; k < 32; k++) look((int32_t)draw() >> draw() % 32, &f, &q);
    for (uint32_t k = 0; k < 32; k++)
      around((between(-520, 520) * 0.5 + between(-2, 2) * 0x1p-20) / (double)multiplier, &f, &q);
    around(f.limit, &f, &q), around(-(double)f.limit, &f, &q);
  }
  printf("%" PRIu64 "\n", cases);
  return 0;
}
