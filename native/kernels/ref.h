/* How every ref.c ends: residual, then activation. */
#ifndef FIL_REF_H
#define FIL_REF_H
#include "kernels/kernels.h"
#include "simd/scalar_math.h"

static inline float fil_finish(float sum, const fil_epilogue *e, size_t residual_at) {
  if (e->residual) sum += e->residual[residual_at];
  return fil_act_of_float(sum, e->act, e->lo, e->hi);
}
#endif
