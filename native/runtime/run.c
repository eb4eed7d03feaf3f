#include "runtime/registry.h"

void fil_run_traced(const fil_model *m, void *arena, const void *const *inputs,
                    void *const *outputs, fil_trace trace, void *user) {
  fil_run_state s = {m, arena, inputs, outputs};
  for (uint32_t i = 0; i < m->op_count; i++) {
    fil_registry[m->ops[i].kind].run(&s, &m->ops[i]);
    if (trace) trace(user, i);
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
