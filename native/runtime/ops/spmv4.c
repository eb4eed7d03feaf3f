#include "runtime/products.h"
#include "runtime/registry.h"
#include "runtime/shapes.h"

fil_status fil_spmv4_check(const fil_model *m, const fil_op *op, uint64_t *work) {
  return fil_spmv_shape(m, op, work);
}

void fil_spmv4_run(const fil_run_state *s, const fil_op *op) {
  fil_run_spmv(s, op, fil_spmv4_by_isa[fil_isa_of(s->m, op)]);
}
