/* A matrix of halves is multiplied in parts: as many groups as scratch holds in float32. Each half
 * is widened once, for all tiles of positions. */
#ifndef FIL_SPMM_PARTS_H
#define FIL_SPMM_PARTS_H
#include "kernels/spmm/step.h"
#include "simd/f16.h"

/* now: the groups at hand, in float32; group, halves: the first behind them. */
typedef struct parts {
  fil_spmm_args now;
  const fil_matrix *all;
  const uint16_t *halves;
  uint32_t group, blocks; /* blocks: of the groups at hand */
} parts;

static parts parts_of(const fil_spmm_args *a) {
  parts p = {.now = *a, .all = &a->w, .halves = a->w.halves};
  p.now.w.values = a->w.wide;
  p.now.w.halves = 0;
  p.now.w.groups = 0;
  return p;
}

/* Widen the next groups: 0 if there are none. */
static int next_part(parts *p) {
  const fil_matrix *all = p->all;
  fil_matrix *w = &p->now.w;
  uint32_t O = all->block_rows, first = p->group;
  if (first == all->groups) return 0;
  step_over(&p->now, p->blocks);
  p->blocks = blocks_of(all, p->group++);
  for (; p->group < all->groups; p->group++) {
    uint32_t more = blocks_of(all, p->group);
    if ((p->blocks + more) * O > FIL_WIDE) break;
    p->blocks += more;
  }
  w->groups = p->group - first;
  w->rows = all->rows - first * O < w->groups * O ? all->rows - first * O : w->groups * O;
  widen(all->wide, p->halves, p->blocks * O);
  p->halves += (size_t)p->blocks * O;
  return 1;
}
#endif
