/* The probe's loops: simd.c is compiled once per ISA, ref.c is scalar. */
#ifndef FIL_PROBE_LOOPS_H
#define FIL_PROBE_LOOPS_H
#include <stddef.h>
#include <stdint.h>

/* The floating-point operations done; *sink takes their result, so that no compiler leaves them
 * out. fil_probe_triad_<isa>: one round. */
#define X(NAME, name, lanes)                                                                       \
  uint64_t fil_probe_peak_##name(uint32_t rounds, float *sink);                                    \
  void fil_probe_triad_##name(float *a, const float *b, const float *c, size_t n);
#include "filigree/isa.def"
#undef X
#endif
