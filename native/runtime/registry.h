/* What open.c and run.c know about operations: one row per op of op.def. */
#ifndef FIL_REGISTRY_H
#define FIL_REGISTRY_H
#include "runtime/context.h"

/* fil_<op>_check: everything its kernel will touch lies inside the op's tensors, its parameters are
 * within the caps, and *work is an upper bound on the kernel's steps (multiply-accumulates), not 0.
 * Tensors and weights have been validated and the op's tensor ids are in range or FIL_NONE.
 * Returns FIL_OK, FIL_E_OP or FIL_E_BOUNDS.
 * fil_<op>_run: fill the kernel's arguments and call it. */
typedef struct fil_op_type {
  fil_status (*check)(const fil_model *m, const fil_op *op, uint64_t *work);
  void (*run)(const fil_run_state *s, const fil_op *op);
  uint8_t param_bytes; /* of the union; the rest is zero */
} fil_op_type;

#define X(NAME, name, member)                                                                      \
  fil_status fil_##name##_check(const fil_model *m, const fil_op *op, uint64_t *work);             \
  void fil_##name##_run(const fil_run_state *s, const fil_op *op);
#include "filigree/op.def"
#undef X

/* registry.c has the ops of FIL_OPS (runtime/config.h). The rows of others are zero: fil_open
 * answers FIL_E_UNSUPPORTED, and the linker drops their checks and kernels. */
extern const fil_op_type fil_registry[FIL_OP_COUNT];
#endif
