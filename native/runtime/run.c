#include "runtime/band.h"
#include "runtime/config.h"
#include "runtime/registry.h"

/* An op in several parts. */
typedef struct op_parts {
  fil_run_state s;
  const fil_op *op;
  const fil_parallel *parallel;
} op_parts;

static void run_part(void *data, uint32_t part) {
  const op_parts *r = data;
  fil_run_state s = r->s;
  s.part.index = part;
  if (part && r->parallel->scratch)
    s.scratch = (uint8_t *)r->parallel->scratch + (part - 1) * (size_t)r->parallel->scratch_bytes;
  fil_registry[r->op->kind].run(&s, r->op);
}

/* How many parts of an op, or of its band's step, are worth handing over; its check knows its work.
 */
static uint32_t parts_of(const op_parts *r) {
  const fil_model *m = r->s.m;
  const fil_parallel *parallel = r->parallel;
  if (!parallel || parallel->threads < 2) return 1;
  uint64_t work = 0;
  fil_registry[r->op->kind].check(m, r->op, &work);
  if (r->s.to != UINT32_MAX) work = work / r->op->p.conv.out_h * (r->s.to - r->s.from);
  for (uint32_t lanes = fil_isa_lanes(m->isa); lanes > 1; lanes /= 2) work /= 2; /* in vectors */
  work >>= FIL_PART_LOG2;
  if (!work) return 1;
  return work < parallel->threads ? (uint32_t)work : parallel->threads;
}

static void run_op(op_parts *r) {
  r->s.part.count = parts_of(r);
  if (r->s.part.count == 1) run_part(r, 0);
  else r->parallel->run(r->parallel->self, run_part, r, r->s.part.count);
}

void fil_run_parallel(const fil_model *m, void *arena, const void *const *inputs,
                      void *const *outputs, const fil_parallel *parallel, fil_trace trace,
                      void *user) {
  op_parts r = {.s = {.m = m, .arena = arena, .inputs = inputs, .outputs = outputs}};
  r.parallel = parallel;
  for (uint32_t i = 0, n; i < m->op_count; i += n) {
    n = fil_band_ops(&m->ops[i]);
    fil_band b = fil_band_start(&m->ops[i], n);
    do {
      fil_band_next(&b, m->lanes);
      for (uint32_t k = 0; k < n; k++) {
        r.op = &m->ops[i + k], r.s.from = b.from[k], r.s.to = b.to[k];
        run_op(&r);
        if (trace) trace(user, i + k);
      }
    } while (!fil_band_done(&b));
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
