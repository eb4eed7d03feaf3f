#include "runtime/products.h"
#include "runtime/registry.h"
#include "runtime/shapes.h"

fil_status fil_spmm_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  fil_status status = fil_spmm_shape(m, op, work);
  if (status < 0) return status;
  return fil_scratch_ok(m, op, 0) ? FIL_OK : FIL_E_BOUNDS;
}

void fil_spmm_run(const fil_run_state *s, const fil_op *op) {
  fil_run_spmm(s, op, fil_spmm_by_isa[fil_isa_of(s->m, op)]);
}
