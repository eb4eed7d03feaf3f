/* Shared by the ops: how a check asks about tensors and how a run finds pointers. */
#ifndef FIL_CONTEXT_H
#define FIL_CONTEXT_H
#include "kernels/kernels.h"
#include "runtime/part.h"

/* One run: the model and the caller's buffers, and which part of an op to do. */
typedef struct fil_run_state {
  const fil_model *m;
  uint8_t *arena;
  const void *const *inputs;
  void *const *outputs;
  uint32_t from, to; /* output rows that a convolution is to make: all of them, or a band's */
  fil_part part;
  uint8_t *scratch; /* of this part; NULL: what the op has in the arena */
  uint8_t *own; /* this part's tensors of the band that starts at op `band`; NULL: the arena's */
  uint32_t band;
} fil_run_state;

/* The ISA for a model's operations on this element type, with `lanes` lanes; FIL_ISA_COUNT if there
 * is none, or the forced one is of this type and does not fit. The forced one, or FIL_ISA_COUNT. */
fil_isa fil_isa_for(uint8_t activations, uint32_t lanes);
fil_isa fil_isa_forced(void);

/* The ISA whose kernels run an op. */
fil_isa fil_isa_of(const fil_model *m, const fil_op *op);

/* What an op may name: all of the flags, no others, decide which of in[0], in[1] and weights are
 * present. FIL_TAKES_Y may be absent (a residual). Offsets of absent tensors must be zero. */
enum { FIL_TAKES_X = 1, FIL_TAKES_Y = 2, FIL_NEEDS_Y = 4, FIL_TAKES_W = 8, FIL_TAKES_ACT = 16 };
int fil_op_takes(const fil_op *op, int flags);

/* Kinds on int8; kinds on floats whose weights are int4. */
static inline int fil_is_int8(uint16_t kind) {
  return kind >= FIL_OP_QSPMM && kind <= FIL_OP_QSOFTMAX;
}
static inline int fil_is_int4(uint16_t kind) {
  return kind == FIL_OP_SPMM4 || kind == FIL_OP_SPMV4;
}

/* Bytes of an element of this type; 0: there is no such type. */
uint32_t fil_dtype_bytes(uint8_t dtype);
uint32_t fil_item(const fil_model *m, uint16_t tensor); /* of a tensor's elements */

/* p, if it is not NULL, `elements` of `item` bytes further on. */
static inline void *fil_on(const void *p, size_t elements, uint32_t item) {
  return p ? (uint8_t *)(uintptr_t)p + elements * item : 0;
}

/* Element `last` (and so everything before it) lies inside the tensor. */
int fil_inside(const fil_model *m, uint16_t tensor, uint32_t last);

/* `count` planes, pitch elements apart, the first at element `base`. */
typedef struct fil_planes {
  uint32_t base, count, pitch, positions;
} fil_planes;

/* Every plane, walked up to the next multiple of the model's lanes, lies inside the tensor.
 * 0 if there is no plane or no position. */
int fil_planes_inside(const fil_model *m, uint16_t tensor, fil_planes p);

/* The same for a tensor's own planes, which a kernel writes: the walk must also end inside its
 * plane, else it would run over the start of the next one. */
int fil_planes_own(const fil_model *m, uint16_t tensor, fil_planes p);

/* One axis of a window walk: in and out are 1..FIL_MAX_DIM, k, stride and dilation are not 0, and
 * no coordinate that the kernel computes passes 2^30. */
int fil_axis_ok(uint32_t in, uint32_t out, uint32_t k, uint32_t stride, uint32_t dilation);

/* SPMM, CONV, DWCONV, SPMV and those like them: the operands, the axes, and cols of the weights =
 * `cols`. */
int fil_conv_ok(const fil_model *m, const fil_op *op, uint32_t cols);

/* Given fil_conv_ok: one tap, stride and dilation 1, no padding. */
int fil_conv_is_1x1(const fil_conv *g);

/* Residual and output of a convolution over planes. */
int fil_conv_outputs_ok(const fil_model *m, const fil_op *op);

/* Rows that a tensor of `rows` rows holds: `ring`, if it is one. */
uint32_t fil_rows_held(uint16_t ring, uint32_t rows);

/* Output that is in one piece in out, in the residual and, if `x_too`, in the input: positions
 * [first, first + positions), elements into each, and how many rows of it were looked at. */
typedef struct fil_stretch {
  uint32_t rows, first, positions;
  size_t x, y, out;
} fil_stretch;
uint32_t fil_rows_to(const fil_run_state *s, const fil_conv *g); /* end of the rows to make */
fil_stretch fil_stretch_from(const fil_conv *g, uint32_t from, uint32_t to, int x_too);

/* Steps of the op's matrix over `positions` columns of activations, and filling a panel for them.
 */
uint64_t fil_matrix_work(const fil_weights *w, uint32_t positions, uint32_t panel_cols);

/* Bytes of scratch into which an op widens its weights, in front of its kernel's own: a multiple of
 * FIL_ALIGN, 0 if weights are what it computes with. */
uint64_t fil_wide_scratch(const fil_op *op, const fil_weights *w, uint8_t activations);

/* A kernel's own scratch: kernels on floats say what it is for float32, those on int8 what it is.
 */
static inline uint64_t fil_own_scratch(const fil_op *op, uint64_t bytes, uint8_t activations) {
  if (fil_is_int8(op->kind)) return bytes;
  return bytes / sizeof(float) * fil_dtype_bytes(activations);
}

/* The op's scratch holds that and its kernel's own, which says `bytes`. */
int fil_scratch_ok(const fil_model *m, const fil_op *op, uint64_t bytes);

/* Element `offset` of a tensor, whatever its type; NULL: FIL_NONE. */
const void *fil_read(const fil_run_state *s, uint16_t tensor, uint32_t offset);
void *fil_write(const fil_run_state *s, uint16_t tensor, uint32_t offset);
fil_matrix fil_matrix_of(const fil_run_state *s, const fil_op *op);
float *fil_scratch_of(const fil_run_state *s, const fil_op *op);        /* the kernel's own */
fil_epilogue fil_act_of(const fil_op *op);                              /* activation only */
fil_epilogue fil_epilogue_of(const fil_run_state *s, const fil_op *op); /* and in[1] as residual */

/* Narrow a product to this part's share of the groups of rows: w, and where their rows start in out
 * and in the residual. pitch: from row to row of out; item: bytes of an element. Returns the
 * groups.
 */
fil_span fil_take_groups(const fil_run_state *s, fil_matrix *w, float **out, size_t pitch,
                         uint32_t item, fil_epilogue *e);

/* What this part has to make of a convolution's rows, stretch by stretch: a share of the positions
 * of each, or, where there are few, of the groups of rows (as fil_take_groups). */
typedef struct fil_stretches {
  const fil_conv *g;
  fil_part part;
  uint32_t row, to;
} fil_stretches;
fil_stretches fil_stretches_of(const fil_run_state *s, const fil_conv *g, fil_matrix *w,
                               float **out, size_t pitch, uint32_t item, fil_epilogue *e);
int fil_next_stretch(fil_stretches *k, fil_stretch *piece, int x_too); /* 0: that was all */
#endif
