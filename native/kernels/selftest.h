/* Parts of fil_isa_selftest. */
#ifndef FIL_SELFTEST_H
#define FIL_SELFTEST_H
#include "kernels/kernels.h"

int fil_q8_selftest(
    fil_isa isa); /* 0: every int8 kernel of the ISA gives what the scalar one does */
#endif
