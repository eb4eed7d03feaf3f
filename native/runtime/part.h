/* How an op is shared out between threads: statically, each part a contiguous span, none of which
 * depends on anything but the op and the number of parts. An output's sum is taken in the same
 * order whichever part it falls in, so the bits do not depend on that number. */
#ifndef FIL_PART_H
#define FIL_PART_H
#include "kernels/kernels.h"

enum {
  FIL_PART_LANES = 16, /* spans of positions start at multiples of it: kernels write vectors */
  FIL_PART_EVEN = 8    /* units for each part that are even enough */
};

/* Part `index` of `count`. */
typedef struct fil_part {
  uint32_t index, count;
} fil_part;

#define FIL_WHOLE ((fil_part){0, 1})

typedef struct fil_span {
  uint32_t first, end;
} fil_span;

static inline int fil_is_empty(fil_span s) { return s.first == s.end; }

/* This part's share of [0, n), which starts at a multiple of `unit`. */
fil_span fil_share(fil_part p, uint32_t n, uint32_t unit);

/* This part's share of a matrix's groups: about as many stored blocks as every other's. */
fil_span fil_share_groups(const fil_matrix *w, fil_part p);

/* The matrix of these groups' rows alone. */
void fil_keep_groups(fil_matrix *w, fil_span groups);

/* Whether to share out a product's groups and not its `units` of positions: where those are too few
 * to be even. Every part then reads all of x but its own weights only. */
int fil_is_by_groups(fil_part p, uint32_t units, uint32_t groups);
#endif
