/* The loader's arithmetic: u32, saturating at UINT32_MAX, which every limit of the format is below.
 * The one place where sizes that come from a file are added and multiplied. (The file's u64 fields
 * are narrowed first: 64-bit arithmetic would double the loader's size on a microcontroller.) */
#ifndef FIL_CHECKED_H
#define FIL_CHECKED_H
#include <stdint.h>

uint32_t fil_narrow(uint64_t x);
uint32_t fil_mul(uint32_t a, uint32_t b);
uint32_t fil_add(uint32_t a, uint32_t b);

/* base + (count - 1) * stride: the last element of a strided walk. UINT32_MAX if count is 0. */
uint32_t fil_reach(uint32_t base, uint32_t count, uint32_t stride);

/* x rounded up to a multiple of step, a power of two. */
uint32_t fil_round_up(uint32_t x, uint32_t step);

/* a * b * c * d steps, 0 if a factor is; UINT64_MAX if a factor is over FIL_MAX_ELEMENTS or the
 * product is clearly not under 2^FIL_MAX_WORK_LOG2. */
uint64_t fil_work(uint32_t a, uint32_t b, uint32_t c, uint32_t d);

/* [offset, offset + bytes) lies inside [0, limit). */
int fil_within(uint32_t offset, uint32_t bytes, uint32_t limit);

/* [a, a + a_bytes) and [b, b + b_bytes) share a byte. Neither end passes UINT32_MAX. */
int fil_overlap(uint32_t a, uint32_t a_bytes, uint32_t b, uint32_t b_bytes);
#endif
