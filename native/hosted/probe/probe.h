/* What this machine can do, and how long each operation of a run took: what `filigree bench` holds
 * layers against. It needs an operating system's clock, so it is no part of the library: the Python
 * extension alone has it. */
#ifndef FIL_PROBE_H
#define FIL_PROBE_H
#include "filigree/filigree.h"

/* Multiply-adds in registers and nothing else, `rounds` times. Returns nanoseconds; *flops: how
 * many floating-point operations that was. isa must be present. */
uint64_t fil_probe_peak(fil_isa isa, uint32_t rounds, uint64_t *flops);

/* a[i] = b[i] + s * c[i] for i < n, `rounds` times (the triad of McCalpin's STREAM): 12 bytes an
 * element. Returns nanoseconds. n is a multiple of 64; a, b and c are aligned to FIL_ALIGN. */
uint64_t fil_probe_triad(fil_isa isa, float *a, const float *b, const float *c, size_t n,
                         uint32_t rounds);

/* fil_run, adding to ns[op] the nanoseconds that each op took, over all steps of its band: op_count
 * numbers, 0 before the first run. */
void fil_probe_run(const fil_model *m, void *arena, const void *const *inputs, void *const *outputs,
                   uint64_t *ns);
#endif
