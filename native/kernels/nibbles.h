/* Weights of int4: where a group's lie and what a block's are. */
#ifndef FIL_NIBBLES_H
#define FIL_NIBBLES_H
#include "kernels/walk.h"

enum { FIL_UNIT = 16 }; /* nibbles of 8 bytes: FIL_UNIT / block_rows blocks */

static inline uint32_t fil_nibble_units(uint32_t blocks, uint32_t block_rows) {
  return (blocks * block_rows + FIL_UNIT - 1) / FIL_UNIT;
}

static inline uint32_t fil_nibble_bytes(uint32_t blocks, uint32_t block_rows) {
  return fil_nibble_units(blocks, block_rows) * (FIL_UNIT / 2);
}

static inline uint32_t fil_nibble_runs(uint32_t blocks) { return (blocks + FIL_RUN - 1) / FIL_RUN; }

/* The weights of block i of a group whose nibbles and scales start here; exact in float32. */
static inline void fil_nibble_block(const uint8_t *nibbles, const uint16_t *scales, uint32_t O,
                                    uint32_t i, float *to) {
  for (uint32_t r = 0; r < O; r++) {
    uint32_t at = i * O + r, bits = nibbles[at / 2] >> at % 2 * 4 & 15;
    to[r] = (float)((int)(bits ^ 8) - 8) * fil_f16(scales[i / FIL_RUN * O + r]);
  }
}
#endif
