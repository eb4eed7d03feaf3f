/* The parts of checks that float32 and int8 kinds of an op share. */
#ifndef FIL_SHAPES_H
#define FIL_SHAPES_H
#include "runtime/context.h"

/* As fil_<op>_check (registry.h), but for types and, of layers, scratch. */
fil_status fil_spmm_shape(const fil_model *m, const fil_op *op, uint64_t *work);
fil_status fil_conv_shape(const fil_model *m, const fil_op *op, uint64_t *work);
fil_status fil_dwconv_shape(const fil_model *m, const fil_op *op, uint64_t *work);
fil_status fil_spmv_shape(const fil_model *m, const fil_op *op, uint64_t *work);
fil_status fil_pool_shape(const fil_model *m, const fil_op *op, uint64_t *work);
fil_status fil_reduce_shape(const fil_model *m, const fil_op *op, uint64_t *work);
fil_status fil_softmax_shape(const fil_model *m, const fil_op *op, uint64_t *work);

/* takes: FIL_TAKES_X and FIL_NEEDS_Y, as the function has operands. */
fil_status fil_map_shape(const fil_model *m, const fil_op *op, int takes, uint64_t *work);

/* The outermost axis that is long enough to be shared out evenly, or else the longest. */
int fil_map_axis(const fil_map *g, fil_part p);
#endif
