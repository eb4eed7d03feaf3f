/* How products of weights and activations run, whatever the weights are made of. */
#ifndef FIL_PRODUCTS_H
#define FIL_PRODUCTS_H
#include "runtime/context.h"

void fil_run_spmm(const fil_run_state *s, const fil_op *op, fil_spmm_kernel kernel);
void fil_run_spmv(const fil_run_state *s, const fil_op *op, fil_spmv_kernel kernel);
#endif
