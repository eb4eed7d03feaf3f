#define _POSIX_C_SOURCE 199309L /* clock_gettime */
#include <time.h>
#include "hosted/probe/loops.h"
#include "hosted/probe/probe.h"
#include "runtime/config.h"

#define ENTRY(have, name, isa)  ENTRY_(have, name, isa)
#define ENTRY_(have, name, isa) ENTRY_##have(name, isa)
#define ENTRY_0(name, isa)      0
#define ENTRY_1(name, isa)      fil_probe_##name##_##isa

static uint64_t (*const peaks[FIL_ISA_COUNT])(uint32_t, float *) = {
#define X(NAME, name, lanes) ENTRY(FIL_HAVE_##NAME, peak, name),
#include "filigree/isa.def"
#undef X
};

static void (*const triads[FIL_ISA_COUNT])(float *, const float *, const float *, size_t) = {
#define X(NAME, name, lanes) ENTRY(FIL_HAVE_##NAME, triad, name),
#include "filigree/isa.def"
#undef X
};

static volatile float sink;

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t fil_probe_peak(fil_isa isa, uint32_t rounds, uint64_t *flops) {
  float result;
  uint64_t start = now();
  *flops = peaks[isa](rounds, &result);
  uint64_t took = now() - start;
  sink = result;
  return took;
}

uint64_t fil_probe_triad(fil_isa isa, float *a, const float *b, const float *c, size_t n,
                         uint32_t rounds) {
  uint64_t start = now();
  for (; rounds; rounds--) triads[isa](a, b, c, n);
  return now() - start;
}

typedef struct stopwatch {
  uint64_t *ns, last;
} stopwatch;

static void lap(void *user, uint32_t op) {
  stopwatch *w = user;
  uint64_t at = now();
  w->ns[op] += at - w->last;
  w->last = at;
}

void fil_probe_run(const fil_model *m, void *arena, const void *const *inputs, void *const *outputs,
                   uint64_t *ns) {
  stopwatch w = {ns, now()};
  fil_run_traced(m, arena, inputs, outputs, lap, &w);
}
