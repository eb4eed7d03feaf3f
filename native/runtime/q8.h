/* What the int8 ops share. */
#ifndef FIL_RUNTIME_Q8_H
#define FIL_RUNTIME_Q8_H
#include "runtime/shapes.h"

/* in[0], in[1] if it is there, and out are int8, and the activation is one of int8. */
int fil_q8_ok(const fil_model *m, const fil_op *op);

/* NONE, or CLAMP to whole numbers of int8; what FILL writes is one too. */
int fil_q8_act_ok(const fil_op *op);

/* in[0] and out have the same scale and zero. */
int fil_q8_same(const fil_model *m, const fil_op *op);

/* The rounding of an op's results; in[1] is a residual. */
fil_rescale fil_rescale_of(const fil_run_state *s, const fil_op *op);

/* Of in[0] over that of out. */
float fil_scale_ratio(const fil_model *m, const fil_op *op);
int32_t fil_zero_of(const fil_model *m, uint16_t tensor);
#endif
