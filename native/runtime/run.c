#include "runtime/band.h"
#include "runtime/checked.h"
#include "runtime/config.h"
#include "runtime/registry.h"

/* An op or a band in several parts. */
typedef struct shared {
  fil_run_state s;
  const fil_op *op; /* the op, or the first of the band */
  const fil_parallel *parallel;
  uint32_t count, steps; /* of the band: its parts, and the steps that they share out */
  fil_trace trace;
  void *user;
} shared;

/* Where a part has what the first has in the arena. */
static uint8_t *scratch_of(const shared *r, uint32_t part) {
  if (!part || !r->parallel->scratch) return 0;
  return (uint8_t *)r->parallel->scratch + (part - 1) * (size_t)r->parallel->scratch_bytes;
}

static void run_part(void *data, uint32_t part) {
  const shared *r = data;
  fil_run_state s = r->s;
  s.part.index = part;
  s.scratch = scratch_of(r, part);
  fil_registry[r->op->kind].run(&s, r->op);
}

static uint32_t index_of(const shared *r) { return (uint32_t)(r->op - r->s.m->ops); }

static void traced(const shared *r, uint32_t op) {
  if (r->trace) r->trace(r->user, op);
}

/* Vector steps of an op; its check knows its work. */
static uint32_t steps_of(const fil_model *m, const fil_op *op) {
  uint64_t work = 0;
  fil_registry[op->kind].check(m, op, &work);
  for (uint32_t lanes = fil_isa_lanes(fil_isa_of(m, op)); lanes > 1; lanes /= 2) work /= 2;
  return fil_narrow(work);
}

static uint32_t rows_share(const shared *r, uint32_t steps) {
  if (r->s.to == UINT32_MAX) return steps;
  return fil_mul(steps / r->op->p.conv.out_h, r->s.to - r->s.from);
}

/* How many parts so many vector steps are worth handing over to. */
static uint32_t parts_for(const shared *r, uint32_t steps) {
  if (!r->parallel || r->parallel->threads < 2) return 1;
  uint32_t parts = steps >> FIL_PART_LOG2;
  if (!parts) return 1;
  return parts < r->parallel->threads ? parts : r->parallel->threads;
}

static void run_op(shared *r) {
  r->s.part.count = parts_for(r, rows_share(r, steps_of(r->s.m, r->op)));
  if (r->s.part.count == 1) run_part(r, 0);
  else r->parallel->run(r->parallel->self, run_part, r, r->s.part.count);
}

/* --- bands --- */

/* A part of a band: its share of the steps, on one thread. */
static void run_band_part(void *data, uint32_t part) {
  const shared *r = data;
  const fil_model *m = r->s.m;
  uint32_t first = index_of(r), n = fil_band_ops(r->op);
  uint32_t from = r->steps * part / r->count, to = r->steps * (part + 1) / r->count;
  fil_run_state s = r->s;
  s.part = FIL_WHOLE, s.band = first, s.own = scratch_of(r, part);
  if (part) s.scratch = s.own + fil_band_bytes(m, first, n - 1);
  fil_band b = fil_band_after(m, first, from);
  for (uint32_t step = 0; step < to; step++) {
    fil_band_next(&b, m->lanes);
    for (uint32_t k = 0; k < n; k++) {
      s.from = b.from[k], s.to = b.to[k];
      if (s.from >= s.to) continue;
      fil_registry[r->op[k].kind].run(&s, &r->op[k]);
      if (!part) traced(r, first + k);
    }
  }
}

/* Into how many parts to divide the band: 1, if that can not be or is not worth it. */
static uint32_t band_parts_of(shared *r) {
  const fil_model *m = r->s.m;
  uint32_t first = index_of(r), n = fil_band_ops(r->op), steps = 0;
  if (!r->parallel || r->parallel->threads < 2 || !r->parallel->scratch) return 1;
  if (!fil_band_divides(m, first)) return 1;
  for (uint32_t k = 0; k < n; k++) steps = fil_add(steps, steps_of(m, &r->op[k]));
  r->steps = fil_band_steps(m, first);
  uint32_t parts = parts_for(r, steps);
  return parts < r->steps ? parts : r->steps;
}

static void run_band_steps(shared *r) {
  uint32_t first = index_of(r), n = fil_band_ops(r->op);
  fil_band b = fil_band_start(r->op, n);
  do {
    fil_band_next(&b, r->s.m->lanes);
    for (uint32_t k = 0; k < n; k++) {
      r->op = &r->s.m->ops[first + k], r->s.from = b.from[k], r->s.to = b.to[k];
      run_op(r);
      traced(r, first + k);
    }
  } while (!fil_band_done(&b));
}

static void run_alone(shared *r) {
  r->s.from = 0, r->s.to = UINT32_MAX;
  run_op(r);
  traced(r, index_of(r));
}

static void run_band(shared *r) {
  if (fil_band_ops(r->op) == 1) {
    run_alone(r);
    return;
  }
  r->count = band_parts_of(r);
  if (r->count == 1) {
    run_band_steps(r);
    return;
  }
  r->parallel->run(r->parallel->self, run_band_part, r, r->count);
  traced(r, index_of(r) + fil_band_ops(r->op) - 1);
}

void fil_run_parallel(const fil_model *m, void *arena, const void *const *inputs,
                      void *const *outputs, const fil_parallel *parallel, fil_trace trace,
                      void *user) {
  shared r = {.s = {.m = m, .arena = arena, .inputs = inputs, .outputs = outputs}};
  r.parallel = parallel, r.trace = trace, r.user = user;
  for (uint32_t i = 0; i < m->op_count; i += fil_band_ops(&m->ops[i])) {
    r.op = &m->ops[i];
    run_band(&r);
  }
}

void fil_run_traced(const fil_model *m, void *arena, const void *const *inputs,
                    void *const *outputs, fil_trace trace, void *user) {
  fil_run_parallel(m, arena, inputs, outputs, 0, trace, user);
}

void fil_run(const fil_model *m, void *arena, const void *const *inputs, void *const *outputs) {
  fil_run_parallel(m, arena, inputs, outputs, 0, 0, 0);
}

const void *fil_tensor_data(const fil_model *m, const void *arena, uint32_t tensor) {
  if (tensor >= m->tensor_count) return 0;
  const fil_tensor *t = &m->tensors[tensor];
  if (t->place == FIL_PLACE_ARENA) return (const uint8_t *)arena + t->offset;
  return t->place == FIL_PLACE_CONST ? m->constants + t->offset : 0;
}
