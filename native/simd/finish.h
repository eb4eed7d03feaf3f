/* How vector kernels end: residual, then activation.
 *
 * Most ops end with no more than a clamp (none is a clamp to +-inf), which a kernel applies to its
 * sums in registers. For a residual or another activation it stores the plain sums and hands the
 * piece, still in the L1 cache, to FIL_KERNEL(finish): one copy of that code per ISA, not one per
 * register tile. */
#ifndef FIL_FINISH_H
#define FIL_FINISH_H
#include "kernels/kernels.h"
#include "simd/simd.h"

/* n elements of each of `rows` rows, pitches apart; residual may be NULL. */
typedef struct fil_piece {
  fx *y;
  const fx *residual;
  uint32_t rows, n;
  size_t pitch, residual_pitch;
} fil_piece;

/* y = act(y + residual); touches nothing else. kernels/finish/simd.c */
void FIL_KERNEL(finish)(const fil_piece *p, const fil_epilogue *e);

typedef struct v_bounds {
  vf lo, hi;
  int late; /* not done after the clamp */
} v_bounds;

FIL_INLINE v_bounds finish_bounds(const fil_epilogue *e) {
  int late = e->residual || e->act > FIL_ACT_CLAMP;
  int clamp = !late && e->act == FIL_ACT_CLAMP;
  float inf = __builtin_inff();
  return (v_bounds){v_set1(clamp ? e->lo : -inf), v_set1(clamp ? e->hi : inf), late};
}

FIL_INLINE vf v_clamp(vf x, v_bounds b) { return v_min(v_max(x, b.lo), b.hi); }
#endif
