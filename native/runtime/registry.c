#include "runtime/registry.h"
#include "runtime/config.h"

const fil_op_type fil_registry[FIL_OP_COUNT] = {
#define X(NAME, name, member)                                                                      \
  [FIL_OP_##NAME] = {fil_##name##_check, fil_##name##_run, sizeof(((fil_op *)0)->p.member)},
#include FIL_OPS
#undef X
};
