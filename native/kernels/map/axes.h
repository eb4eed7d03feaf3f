/* The four loops of a MAP as few long ones. */
#ifndef FIL_MAP_AXES_H
#define FIL_MAP_AXES_H
#include "filigree/format.h"

/* One dimension: its length and the strides of a, b and out. */
typedef struct axis {
  uint32_t n;
  int64_t a, b, out;
} axis;

/* The axes longer than 1, those that continue each other as one, outermost first; how many. */
static inline int join_axes(const fil_map *g, axis to[FIL_MAP_RANK]) {
  int count = 0;
  for (int i = 0; i < FIL_MAP_RANK; i++) {
    axis s = {g->dim[i], g->sa[i], g->sb[i], g->so[i]}, *last = &to[count ? count - 1 : 0];
    if (s.n == 1) continue;
    if (count && last->a == s.a * s.n && last->b == s.b * s.n && last->out == s.out * s.n)
      *last = (axis){last->n * s.n, s.a, s.b, s.out};
    else to[count++] = s;
  }
  return count;
}

/* Make the last axis a long one: a pixel's 3 channels are no work for a vector. */
static inline void choose_inner(axis *s, int count) {
  axis *last = &s[count - 1], *longest = last, t = *last;
  for (int i = 0; i < count; i++)
    if (s[i].n > longest->n) longest = &s[i];
  if (last->n >= 16) return;
  *last = *longest;
  *longest = t;
}

/* Loops of one step, then those that there are, outermost first. */
static inline void axes_of(const fil_map *g, axis s[FIL_MAP_RANK]) {
  const axis one = {1, 1, 1, 1};
  axis found[FIL_MAP_RANK];
  int count = join_axes(g, found);
  if (count) choose_inner(found, count);
  for (int i = 0; i < FIL_MAP_RANK; i++)
    s[i] = i < FIL_MAP_RANK - count ? one : found[i - FIL_MAP_RANK + count];
}
#endif
