#include "runtime/band.h"
#include "runtime/checked.h"
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

/* Vector steps of the op, or of its rows in this step of its band; its check knows its work. */
static uint32_t steps_of(const op_parts *r) {
  uint64_t work = 0;
  fil_registry[r->op->kind].check(r->s.m, r->op, &work);
  for (uint32_t lanes = fil_isa_lanes(r->s.m->isa); lanes > 1; lanes /= 2) work /= 2;
  uint32_t steps = fil_narrow(work);
  if (r->s.to == UINT32_MAX) return steps;
  return fil_mul(steps / r->op->p.conv.out_h, r->s.to - r->s.from);
}

/* How many parts are worth handing over. */
static uint32_t parts_of(const op_parts *r) {
  if (!r->parallel || r->parallel->threads < 2) return 1;
  uint32_t parts = steps_of(r) >> FIL_PART_LOG2;
  if (!parts) return 1;
  return parts < r->parallel->threads ? parts : r->parallel->threads;
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
