#include "runtime/band.h"
#include "runtime/registry.h"

void fil_run_traced(const fil_model *m, void *arena, const void *const *inputs,
                    void *const *outputs, fil_trace trace, void *user) {
  fil_run_state s = {m, arena, inputs, outputs, 0, UINT32_MAX};
  for (uint32_t i = 0, n; i < m->op_count; i += n) {
    n = fil_band_ops(&m->ops[i]);
    fil_band b = fil_band_start(&m->ops[i], n);
    do {
      fil_band_next(&b, m->lanes);
      for (uint32_t k = 0; k < n; k++) {
        s.from = b.from[k], s.to = b.to[k];
        fil_registry[m->ops[i + k].kind].run(&s, &m->ops[i + k]);
        if (trace) trace(user, i + k);
      }
    } while (!fil_band_done(&b));
  }
}

void fil_run(const fil_model *m, void *arena, const void *const *inputs, void *const *outputs) {
  fil_run_traced(m, arena, inputs, outputs, 0, 0);
}

const void *fil_tensor_data(const fil_model *m, const void *arena, uint32_t tensor) {
  if (tensor >= m->tensor_count) return 0;
  const fil_tensor *t = &m->tensors[tensor];
  if (t->place == FIL_PLACE_ARENA) return (const uint8_t *)arena + t->offset;
  return t->place == FIL_PLACE_CONST ? m->constants + t->offset : 0;
}
