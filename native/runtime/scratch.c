#include "runtime/band.h"

static uint64_t kernel_scratch(const fil_op *op, uint32_t weight_cols) {
  switch (op->kind) {
  case FIL_OP_CONV: return fil_conv_scratch(&op->p.conv, weight_cols);
  case FIL_OP_DWCONV: return fil_dwconv_scratch(&op->p.conv);
  case FIL_OP_QCONV: return fil_qconv_scratch(&op->p.conv, weight_cols);
  case FIL_OP_QDWCONV: return fil_qdwconv_scratch(&op->p.conv);
  default: return 0;
  }
}

uint64_t fil_op_scratch(const fil_op *op, const fil_weights *weights, uint8_t activations) {
  if (!weights) return 0;
  uint64_t own = fil_own_scratch(op, kernel_scratch(op, weights->cols), activations);
  return fil_wide_scratch(op, weights, activations) + own;
}

/* What a part of any band has of its own. */
static uint64_t band_bytes(const fil_model *m) {
  uint64_t most = 0;
  for (uint32_t i = 0, n; i < m->op_count; i += n) {
    n = fil_band_ops(&m->ops[i]);
    if (!fil_band_divides(m, i)) continue;
    uint64_t bytes = fil_band_bytes(m, i, n - 1);
    if (bytes > most) most = bytes;
  }
  return most;
}

/* What suffices any op. */
static uint64_t op_bytes(const fil_model *m) {
  uint64_t most = 0;
  for (uint32_t i = 0; i < m->op_count; i++) {
    const fil_op *op = &m->ops[i];
    if (op->weights == FIL_NONE) continue;
    uint64_t bytes = fil_op_scratch(op, &m->weights[op->weights], m->tensors[op->out].dtype);
    if (bytes > most) most = bytes;
  }
  return (most + FIL_ALIGN - 1) / FIL_ALIGN * FIL_ALIGN;
}

uint64_t fil_parallel_scratch(const fil_model *m) { return op_bytes(m) + band_bytes(m); }
