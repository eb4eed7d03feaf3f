/* What wasm_threads.c takes from wasm.c. */
#ifndef FIL_WASM_H
#define FIL_WASM_H
#include "filigree/filigree.h"

#define EXPORT(name) __attribute__((export_name(#name))) name

void *fil_w_alloc(uint32_t bytes);
const fil_model *fil_w_opened(void);
void fil_w_use(const fil_parallel *threads); /* for the runs to come */
#endif
