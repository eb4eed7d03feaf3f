/* The loader: native/SPEC.md states the rules, in this order. Validate once, run unchecked. */
#include "kernels/nibbles.h"
#include "kernels/q8.h"
#include "runtime/band.h"
#include "runtime/checked.h"
#include "runtime/config.h"
#include "runtime/registry.h"

#define TRY(call)                                                                                  \
  do {                                                                                             \
    fil_status try_status = (call);                                                                \
    if (try_status < 0) return try_status;                                                         \
  } while (0)

typedef struct span {
  const uint8_t *data;
  uint32_t bytes;
} span;

typedef struct sections {
  span of[FIL_SECTION_META + 1];
} sections;

static int all_zero(const void *data, uint32_t bytes) {
  const uint8_t *p = data;
  for (uint32_t i = 0; i < bytes; i++)
    if (p[i]) return 0;
  return 1;
}

static int aligned(uint32_t offset) { return offset % FIL_ALIGN == 0; }

/* --- header and section table --- */

static int lanes_ok(uint16_t lanes) {
  return lanes == 1 || lanes == 4 || lanes == 8 || lanes == 16;
}

static uint32_t head_crc(const fil_header *h, uint32_t table_end) {
  static const uint32_t zero = 0;
  const uint8_t *p = (const uint8_t *)h;
  const size_t at = offsetof(fil_header, crc), after = at + sizeof h->crc;
  uint32_t crc = fil_crc32c(0, p, at);
  return fil_crc32c(fil_crc32c(crc, &zero, sizeof zero), p + after, table_end - after);
}

static fil_status check_header(fil_model *m, const fil_header *h, size_t bytes) {
  if (bytes < sizeof *h) return FIL_E_TRUNCATED;
  if (h->magic != FIL_MAGIC) return FIL_E_MAGIC;
  if (h->version != FIL_VERSION) return FIL_E_VERSION;
  if (h->required & ~(uint32_t)FIL_NEEDS_F16) return FIL_E_FLAGS;
  if (h->file_bytes != bytes) return FIL_E_TRUNCATED;
  if (h->section_count > FIL_MAX_SECTIONS || bytes >= UINT32_MAX) return FIL_E_CAPS;
  uint32_t table_end = (uint32_t)(sizeof *h + h->section_count * sizeof(fil_section));
  if (table_end > bytes) return FIL_E_TRUNCATED;
  if (head_crc(h, table_end) != h->crc) return FIL_E_CRC;
  if (!lanes_ok(h->lanes) || !all_zero(h->reserved, sizeof h->reserved)) return FIL_E_SECTIONS;
  if (fil_narrow(h->arena_bytes) > INT32_MAX) return FIL_E_CAPS;
  m->arena_bytes = h->arena_bytes;
  m->lanes = h->lanes;
  m->required = h->required;
  return FIL_OK;
}

static int kind_known(uint32_t kind) {
  return kind <= FIL_SECTION_META && kind != FIL_SECTION_TRAIN && kind != FIL_SECTION_STATE;
}

static fil_status check_sections(fil_model *m, const fil_header *h, sections *s) {
  const fil_section *table = (const fil_section *)(const void *)(h + 1);
  uint32_t end = (uint32_t)(sizeof *h + h->section_count * sizeof *table), kind = 0;
  for (uint32_t i = 0; i < h->section_count; i++) {
    const fil_section *t = &table[i];
    uint32_t offset = fil_round_up(end, FIL_ALIGN), bytes = fil_narrow(t->bytes);
    m->bad_item = (int32_t)i;
    if (t->kind <= kind || !kind_known(t->kind) || t->offset != offset) return FIL_E_SECTIONS;
    if (!fil_within(offset, bytes, (uint32_t)h->file_bytes)) return FIL_E_TRUNCATED;
    if (!all_zero(m->file + end, offset - end)) return FIL_E_SECTIONS;
    if (fil_crc32c(0, m->file + offset, bytes) != t->crc) return FIL_E_CRC;
    kind = t->kind;
    end = offset + bytes;
    s->of[kind] = (span){m->file + offset, bytes};
  }
  m->bad_item = -1;
  return end == h->file_bytes ? FIL_OK : FIL_E_SECTIONS;
}

/* A section that is an array: its element count, or a fault. */
static fil_status count_items(const span *s, uint32_t item_bytes, uint32_t cap, uint32_t *count) {
  uint32_t n = s->bytes / item_bytes;
  if (n > cap) return FIL_E_CAPS;
  *count = n;
  return n * item_bytes == s->bytes ? FIL_OK : FIL_E_SECTIONS;
}

static fil_status find_tables(fil_model *m, const sections *s) {
  const span *of = s->of;
  uint32_t io_count;
  TRY(count_items(&of[FIL_SECTION_TENSORS], sizeof(fil_tensor), FIL_MAX_TENSORS, &m->tensor_count));
  TRY(count_items(&of[FIL_SECTION_WEIGHTS], sizeof(fil_weights), FIL_MAX_WEIGHTS,
                  &m->weights_count));
  TRY(count_items(&of[FIL_SECTION_PROGRAM], sizeof(fil_op), FIL_MAX_OPS, &m->op_count));
  TRY(count_items(&of[FIL_SECTION_IO], sizeof(fil_io), FIL_MAX_IO, &io_count));
  m->tensors = (const fil_tensor *)(const void *)of[FIL_SECTION_TENSORS].data;
  m->weights = (const fil_weights *)(const void *)of[FIL_SECTION_WEIGHTS].data;
  m->ops = (const fil_op *)(const void *)of[FIL_SECTION_PROGRAM].data;
  m->io = (const fil_io *)(const void *)of[FIL_SECTION_IO].data;
  m->constants = of[FIL_SECTION_CONST].data;
  m->constants_bytes = of[FIL_SECTION_CONST].bytes;
  m->meta = of[FIL_SECTION_META].data;
  m->meta_bytes = of[FIL_SECTION_META].bytes;
  while (m->input_count < io_count && !m->io[m->input_count].is_output) m->input_count++;
  m->output_count = io_count - m->input_count;
  return m->output_count ? FIL_OK : FIL_E_IO;
}

/* --- tensors --- */

/* Product of dim[from, to): 0 if a dimension is 0 or over its cap, or the product is. */
static uint32_t volume(const uint32_t *dim, uint32_t from, uint32_t to) {
  uint32_t n = 1;
  for (uint32_t i = from; i < to; i++) {
    n = fil_mul(n, dim[i]);
    if (dim[i] > FIL_MAX_DIM || n > FIL_MAX_ELEMENTS) return 0;
  }
  return n;
}

static int ones(const uint32_t *dim, uint32_t from) {
  for (uint32_t i = from; i < FIL_MAX_RANK; i++)
    if (dim[i] != 1) return 0;
  return 1;
}

static int blob_ok(uint64_t offset, uint32_t bytes, uint32_t limit) {
  uint32_t at = fil_narrow(offset);
  return aligned(at) && fil_within(at, bytes, limit);
}

static uint32_t const_bytes(const fil_model *m) { return (uint32_t)m->constants_bytes; }

static int tensor_place_ok(const fil_model *m, const fil_tensor *t, uint32_t bytes) {
  uint32_t row = fil_narrow(t->offset);
  if (t->place == FIL_PLACE_ARENA)
    return (t->pitch & (m->lanes - 1)) == 0 && blob_ok(t->offset, bytes, (uint32_t)m->arena_bytes);
  if (t->first_op || t->last_op) return 0;
  if (t->place == FIL_PLACE_CONST) return blob_ok(t->offset, bytes, const_bytes(m));
  if (t->place == FIL_PLACE_INPUT) return row < m->input_count;
  return t->place == FIL_PLACE_OUTPUT && row - m->input_count < m->output_count;
}

/* An element type that has kernels, in a place for it, and that the header has announced. */
static int is_int8(uint8_t dtype) { return dtype == FIL_S8 || dtype == FIL_U8; }

/* A factor of rounding to int8: finite and positive. */
static int scale_ok(float x) { return x > 0 && x <= 0x1.fffffep127f; }

static int quant_ok(const fil_tensor *t) {
  uint32_t shift = t->dtype == FIL_S8 ? 128 : 0;
  if (!is_int8(t->dtype)) return all_zero(&t->scale, sizeof t->scale) && !t->zero;
  return scale_ok(t->scale) && (uint32_t)t->zero + shift < 256;
}

static int dtype_ok(const fil_model *m, const fil_tensor *t) {
  int is_port = t->place == FIL_PLACE_INPUT || t->place == FIL_PLACE_OUTPUT;
  if (t->dtype == FIL_F16) return m->required & FIL_NEEDS_F16 && !is_port;
  return t->dtype == FIL_F32 || t->dtype == FIL_S8 || (t->dtype == FIL_U8 && is_port);
}

static fil_status check_tensor(fil_model *m, uint32_t i) {
  const fil_tensor *t = &m->tensors[i];
  if (!dtype_ok(m, t) || t->rank > FIL_MAX_RANK || t->split > t->rank) return FIL_E_TENSOR;
  uint32_t planes = volume(t->dim, 0, t->split), positions = volume(t->dim, t->split, t->rank);
  uint32_t elements = fil_mul(planes, t->pitch);
  if (!planes || !positions || elements > FIL_MAX_ELEMENTS) return FIL_E_CAPS;
  uint32_t bytes = elements * fil_dtype_bytes(t->dtype);
  if (t->pitch < positions || t->bytes != bytes) return FIL_E_TENSOR;
  if (!ones(t->dim, t->rank) || !all_zero(t->reserved, sizeof t->reserved)) return FIL_E_TENSOR;
  if (!quant_ok(t)) return FIL_E_TENSOR;
  return tensor_place_ok(m, t, bytes) ? FIL_OK : FIL_E_TENSOR;
}

static fil_status check_io(fil_model *m, uint32_t i) {
  const fil_io *io = &m->io[i];
  uint8_t place = i < m->input_count ? FIL_PLACE_INPUT : FIL_PLACE_OUTPUT;
  if (io->is_output != (i >= m->input_count) || io->tensor >= m->tensor_count) return FIL_E_IO;
  const fil_tensor *t = &m->tensors[io->tensor];
  if (t->place != place || t->offset != i) return FIL_E_IO;
  if (io->rank > FIL_MAX_RANK || !ones(io->dim, io->rank)) return FIL_E_IO;
  uint32_t n = volume(io->dim, 0, io->rank); /* contiguous: no byte of the tensor is padding */
  if (n != volume(t->dim, 0, t->rank) || (uint32_t)t->bytes != n * fil_dtype_bytes(t->dtype))
    return FIL_E_IO;
  uint32_t length = 0;
  while (length < FIL_NAME_BYTES && io->name[length]) length++;
  if (length == FIL_NAME_BYTES || !all_zero(io->name + length, FIL_NAME_BYTES - length))
    return FIL_E_IO;
  return all_zero(io->reserved, sizeof io->reserved) ? FIL_OK : FIL_E_IO;
}

/* --- weights --- */

/* One group's index list: strictly increasing, below cols. */
static int steps_ok(const uint8_t *step, uint32_t count, uint32_t cols) {
  uint32_t at = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (i && !step[i]) return 0;
    at += step[i];
    if (at >= cols) return 0;
  }
  return 1;
}

static int indices_ok(const uint16_t *index, uint32_t count, uint32_t cols) {
  for (uint32_t i = 0; i < count; i++)
    if (index[i] >= cols || (i && index[i] <= index[i - 1])) return 0;
  return 1;
}

static fil_status check_index(const fil_model *m, const fil_weights *w) {
  const uint8_t *d8 = m->constants + w->index_offset;
  const uint16_t *u16 = (const uint16_t *)(const void *)d8;
  const uint16_t *count = (const uint16_t *)(const void *)(m->constants + w->count_offset);
  uint32_t done = 0;
  for (uint32_t g = 0; g < w->groups; g++) {
    if (count[g] > w->blocks - done) return FIL_E_INDEX;
    if (w->coding == FIL_CODING_D8 ? !steps_ok(d8 + done, count[g], w->cols)
                                   : !indices_ok(u16 + done, count[g], w->cols))
      return FIL_E_INDEX;
    done += count[g];
  }
  return done == w->blocks ? FIL_OK : FIL_E_INDEX;
}

/* No sum of |weights| of a row, times the largest |input|, plus |bias| passes int32. */
static int sums_ok(const int8_t *quads, uint32_t count, uint32_t o, const int32_t *bias) {
  for (uint32_t r = 0; r < o; r++) {
    uint64_t sum = bias[r] < 0 ? 0 - (uint64_t)bias[r] : (uint64_t)bias[r];
    for (uint32_t i = 0; i < count; i++)
      for (uint32_t j = 0; j < FIL_QUAD; j++) {
        int32_t w = quads[((size_t)i * o + r) * FIL_QUAD + j];
        sum += (uint64_t)(w < 0 ? -w : w) * 128;
      }
    if (sum > INT32_MAX) return 0;
  }
  return 1;
}

/* int8: the values are all there, sums stay in int32 and multipliers are factors. */
static fil_status check_quads(const fil_model *m, const fil_weights *w) {
  const int32_t *bias = (const int32_t *)(const void *)(m->constants + w->bias_offset);
  const float *factor = (const float *)(const void *)(m->constants + w->multiplier_offset);
  const uint16_t *count = (const uint16_t *)(const void *)(m->constants + w->count_offset);
  uint32_t o = w->block_rows, dense = w->coding == FIL_CODING_NONE, passed = 0;
  for (uint32_t g = 0; g < w->groups; g++) {
    uint32_t n = fil_quads(dense ? w->cols : count[g]), bytes = fil_mul(n, o * FIL_QUAD);
    passed = fil_add(passed, bytes);
    if (!blob_ok(w->values_offset, passed, const_bytes(m))) return FIL_E_WEIGHTS;
    const int8_t *quads = (const int8_t *)m->constants + w->values_offset + (passed - bytes);
    if (!sums_ok(quads, n, o, bias + (size_t)g * o)) return FIL_E_WEIGHTS;
  }
  for (uint32_t r = 0; r < w->rows; r++)
    if (!scale_ok(factor[r])) return FIL_E_WEIGHTS;
  return FIL_OK;
}

/* int4: nibbles and scales are all there. Any of them stands for some number. */
static fil_status check_nibbles(const fil_model *m, const fil_weights *w) {
  const uint16_t *count = (const uint16_t *)(const void *)(m->constants + w->count_offset);
  uint32_t o = w->block_rows, bytes = 0, scales = 0;
  for (uint32_t g = 0; g < w->groups; g++) {
    uint32_t blocks = w->coding == FIL_CODING_NONE ? w->cols : count[g];
    bytes = fil_add(bytes, fil_nibble_bytes(blocks, o));
    scales = fil_add(scales, fil_nibble_runs(blocks) * o);
  }
  if (!blob_ok(w->values_offset, bytes, const_bytes(m))) return FIL_E_WEIGHTS;
  return blob_ok(w->multiplier_offset, fil_mul(scales, 2), const_bytes(m)) ? FIL_OK : FIL_E_WEIGHTS;
}

/* Values of which there may be more than blocks x block_rows. */
static fil_status check_padded(const fil_model *m, const fil_weights *w) {
  if (w->dtype == FIL_S4) return check_nibbles(m, w);
  return w->dtype == FIL_S8 ? check_quads(m, w) : FIL_OK;
}

static int weights_dtype_ok(uint8_t dtype) {
  return dtype == FIL_F32 || dtype == FIL_F16 || dtype == FIL_S8 || dtype == FIL_S4;
}

static int is_plain(uint8_t dtype) { return dtype == FIL_F32 || dtype == FIL_F16; }

static fil_status check_weights(fil_model *m, uint32_t i) {
  const fil_weights *w = &m->weights[i];
  uint32_t o = w->block_rows;
  if (!weights_dtype_ok(w->dtype) || w->coding > FIL_CODING_U16) return FIL_E_WEIGHTS;
  if (!o || o > 16 || (o & (o - 1))) return FIL_E_WEIGHTS;
  if (w->rows - 1 >= FIL_MAX_DIM || w->cols - 1 >= FIL_MAX_COLS) return FIL_E_CAPS;
  if (fil_mul(w->groups, o) - w->rows >= o) return FIL_E_WEIGHTS;
  uint32_t values = fil_mul(w->blocks, o), step = w->coding == FIL_CODING_D8 ? 1 : 2;
  if (values > FIL_MAX_ELEMENTS) return FIL_E_CAPS;
  if (w->reserved0 || w->reserved1) return FIL_E_WEIGHTS;
  uint32_t limit = const_bytes(m), size = w->dtype == FIL_F16 ? 2 : 4;
  if (is_plain(w->dtype) && w->multiplier_offset) return FIL_E_WEIGHTS;
  if (w->dtype == FIL_S8 && !blob_ok(w->multiplier_offset, w->groups * o * 4, limit))
    return FIL_E_WEIGHTS;
  if (is_plain(w->dtype) && !blob_ok(w->values_offset, values * size, limit)) return FIL_E_WEIGHTS;
  if (!blob_ok(w->bias_offset, w->groups * o * 4, limit)) return FIL_E_WEIGHTS;
  if (w->coding == FIL_CODING_NONE) {
    int dense = w->blocks == fil_mul(w->groups, w->cols);
    if (!dense || w->index_offset || w->count_offset) return FIL_E_WEIGHTS;
    return check_padded(m, w);
  }
  if (!blob_ok(w->index_offset, w->blocks * step, limit)) return FIL_E_WEIGHTS;
  if (!blob_ok(w->count_offset, w->groups * 2, limit)) return FIL_E_WEIGHTS;
  TRY(check_index(m, w));
  return check_padded(m, w);
}

/* --- operations --- */

static int id_ok(uint16_t id, uint32_t count) { return id < count || id == FIL_NONE; }

/* A MAP or QMAP may overwrite an operand element by element: same type, same strides, same offset.
 */
static int in_place_ok(const fil_model *m, const fil_op *op, uint16_t tensor) {
  const fil_map *g = &op->p.map;
  int x = op->in[0] == tensor, y = op->in[1] == tensor;
  if (op->kind != FIL_OP_MAP && op->kind != FIL_OP_QMAP) return 0;
  if (m->tensors[tensor].dtype != m->tensors[op->out].dtype) return 0;
  if ((x && op->x_offset != op->out_offset) || (y && op->y_offset != op->out_offset)) return 0;
  for (int i = 0; i < FIL_MAP_RANK; i++) {
    if (g->dim[i] == 1) continue;
    if ((x && g->sa[i] != g->so[i]) || (y && g->sb[i] != g->so[i])) return 0;
  }
  return 1;
}

/* All tensors of an op have one element type, but for a plain copy, which converts floats. int8 has
 * kinds of its own; they and PIXELS look at their types themselves. */
static int types_ok(const fil_model *m, const fil_op *op) {
  int converts = op->kind == FIL_OP_MAP && op->fn == FIL_MAP_COPY && op->act == FIL_ACT_NONE;
  uint8_t type = m->tensors[op->out].dtype;
  if (fil_is_int8(op->kind) || op->kind == FIL_OP_PIXELS) return 1;
  if (is_int8(type)) return 0;
  for (int k = 0; k < 2; k++) {
    if (op->in[k] == FIL_NONE) continue;
    uint8_t in = m->tensors[op->in[k]].dtype;
    if (is_int8(in) || (in != type && !converts)) return 0;
  }
  return 1;
}

static int writes_between(const fil_model *m, uint16_t tensor, uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to; i++)
    if (m->ops[i].out == tensor) return 1;
  return 0;
}

static int writes_before(const fil_model *m, uint16_t tensor, uint32_t op) {
  return writes_between(m, tensor, 0, op);
}

/* The operations of the band that op i belongs to, or op i alone: first and last. */
typedef struct turns {
  uint32_t first, last;
} turns;

static turns turns_of(const fil_model *m, uint32_t i) {
  uint32_t first = fil_band_first(m->ops, i);
  return (turns){first, first + fil_band_ops(&m->ops[first]) - 1};
}

/* An arena tensor that an op of these touches is alive during all of them. */
static int lives(const fil_tensor *t, turns b) {
  return t->first_op <= b.first && t->last_op >= b.last;
}

/* Op i reads tensor `in`: it has been written and is still alive. */
static fil_status check_read(fil_model *m, uint32_t i, uint16_t in) {
  const fil_tensor *t = &m->tensors[in];
  const fil_op *op = &m->ops[i];
  turns b = turns_of(m, i);
  int early = t->place == FIL_PLACE_OUTPUT && !writes_before(m, in, i);
  int dead = t->place == FIL_PLACE_ARENA && !lives(t, b);
  if (t->place == FIL_PLACE_ARENA && t->first_op == b.first)
    early = !writes_between(m, in, b.first, i);
  if (!early && !dead && (op->out != in || in_place_ok(m, op, in))) return FIL_OK;
  m->bad_item = in;
  return FIL_E_LIFETIME;
}

static fil_status check_write(fil_model *m, uint32_t i) {
  const fil_tensor *t = &m->tensors[m->ops[i].out];
  if (t->place == FIL_PLACE_OUTPUT) return FIL_OK;
  if (t->place != FIL_PLACE_ARENA) return FIL_E_OP;
  if (lives(t, turns_of(m, i))) return FIL_OK;
  m->bad_item = m->ops[i].out;
  return FIL_E_LIFETIME;
}

/* An arena tensor shares a byte with [offset, offset + bytes). */
static int meets(const fil_tensor *t, uint32_t offset, uint32_t bytes) {
  return fil_overlap((uint32_t)t->offset, (uint32_t)t->bytes, offset, bytes);
}

/* Scratch lies inside the arena and meets no tensor that is alive during op i. */
static fil_status check_scratch(fil_model *m, uint32_t i) {
  const fil_op *op = &m->ops[i];
  if (!op->scratch_bytes) return op->scratch_offset ? FIL_E_OP : FIL_OK;
  if (!aligned(op->scratch_offset)) return FIL_E_OP;
  if (!fil_within(op->scratch_offset, op->scratch_bytes, (uint32_t)m->arena_bytes))
    return FIL_E_BOUNDS;
  for (uint32_t k = 0; k < m->tensor_count; k++) {
    const fil_tensor *t = &m->tensors[k];
    if (t->place != FIL_PLACE_ARENA || i < t->first_op || i > t->last_op) continue;
    if (!meets(t, op->scratch_offset, op->scratch_bytes)) continue;
    m->bad_item = (int32_t)k;
    return FIL_E_LIFETIME;
  }
  return FIL_OK;
}

static fil_status check_op(fil_model *m, uint32_t i) {
  const fil_op *op = &m->ops[i];
  if (op->kind >= FIL_OP_COUNT || op->act >= FIL_ACT_COUNT) return FIL_E_OP;
  if (op->kind != FIL_OP_MAP && op->kind != FIL_OP_QMAP && op->fn) return FIL_E_OP;
  if (!id_ok(op->in[0], m->tensor_count) || !id_ok(op->in[1], m->tensor_count)) return FIL_E_OP;
  if (op->out >= m->tensor_count || !id_ok(op->weights, m->weights_count)) return FIL_E_OP;
  const fil_op_type *type = &fil_registry[op->kind];
  if (!type->check) return FIL_E_UNSUPPORTED;
  if (!all_zero(op->p.bytes + type->param_bytes, sizeof op->p - type->param_bytes)) return FIL_E_OP;
  if (!types_ok(m, op) || !fil_band_ok(m, i)) return FIL_E_OP;
  uint64_t work = 0;
  TRY(type->check(m, op, &work));
  if (!work) return FIL_E_OP;
  if (work >> FIL_MAX_WORK_LOG2) return FIL_E_CAPS;
  m->work += work;
  if (m->work >> FIL_MAX_WORK_LOG2) return FIL_E_CAPS;
  for (int k = 0; k < 2; k++)
    if (op->in[k] != FIL_NONE) TRY(check_read(m, i, op->in[k]));
  TRY(check_write(m, i));
  return check_scratch(m, i);
}

/* --- lifetimes --- */

static int touches(const fil_op *op, uint16_t tensor) {
  return op->in[0] == tensor || op->in[1] == tensor || op->out == tensor;
}

static int touched_between(const fil_model *m, uint16_t tensor, uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to; i++)
    if (touches(&m->ops[i], tensor)) return 1;
  return 0;
}

/* `a` dies in the very op that makes `b` out of it, in the same bytes. */
static int handed_over(const fil_model *m, uint16_t a, uint16_t b) {
  const fil_tensor *s = &m->tensors[a], *t = &m->tensors[b];
  const fil_op *op = &m->ops[t->first_op];
  if (s->last_op != t->first_op) return 0;
  return s->offset == t->offset && s->bytes == t->bytes && in_place_ok(m, op, a);
}

static int clash(const fil_model *m, uint16_t a, uint16_t b) {
  const fil_tensor *s = &m->tensors[a], *t = &m->tensors[b];
  if (t->place != FIL_PLACE_ARENA || s->last_op < t->first_op || t->last_op < s->first_op) return 0;
  if (!meets(t, (uint32_t)s->offset, (uint32_t)s->bytes)) return 0;
  return !handed_over(m, a, b) && !handed_over(m, b, a);
}

static fil_status check_lifetime(fil_model *m, uint32_t i) {
  const fil_tensor *t = &m->tensors[i];
  uint16_t id = (uint16_t)i;
  if (t->last_op >= m->op_count || t->first_op > t->last_op) return FIL_E_LIFETIME;
  turns born = turns_of(m, t->first_op), dies = turns_of(m, t->last_op);
  if (t->first_op != born.first || t->last_op != dies.last) return FIL_E_LIFETIME;
  if (!writes_between(m, id, born.first, born.last + 1)) return FIL_E_LIFETIME;
  if (!touched_between(m, id, dies.first, dies.last + 1)) return FIL_E_LIFETIME;
  for (uint32_t k = 0; k < i; k++)
    if (m->tensors[k].place == FIL_PLACE_ARENA && clash(m, (uint16_t)k, id)) return FIL_E_LIFETIME;
  return FIL_OK;
}

/* A tensor in the caller's hands is the one that its row names, and an output has been written. */
static fil_status check_port(fil_model *m, uint32_t i) {
  uint32_t row = (uint32_t)m->tensors[i].offset;
  m->bad_item = (int32_t)row;
  if (m->io[row].tensor != i) return FIL_E_IO;
  return row < m->input_count || writes_before(m, (uint16_t)i, m->op_count) ? FIL_OK : FIL_E_IO;
}

static fil_status check_use(fil_model *m, uint32_t i) {
  uint8_t place = m->tensors[i].place;
  if (place == FIL_PLACE_ARENA) return check_lifetime(m, i);
  return place == FIL_PLACE_CONST ? FIL_OK : check_port(m, i);
}

/* --- all of it --- */

static fil_status check_each(fil_model *m, uint32_t count,
                             fil_status (*check)(fil_model *m, uint32_t i)) {
  for (uint32_t i = 0; i < count; i++) {
    m->bad_item = (int32_t)i;
    TRY(check(m, i));
  }
  return FIL_OK;
}

static fil_status choose_isas(fil_model *m) {
  fil_isa forced = fil_isa_forced();
  int halves = m->required & FIL_NEEDS_F16;
  m->isa = fil_isa_for(FIL_F32, m->lanes);
  m->isa_f16 = halves ? fil_isa_for(FIL_F16, m->lanes) : FIL_ISA_COUNT;
  if (m->isa == FIL_ISA_COUNT) return FIL_E_UNSUPPORTED;
  if (!halves) return fil_isa_activations(forced) == FIL_F16 ? FIL_E_UNSUPPORTED : FIL_OK;
  if (m->isa_f16 != FIL_ISA_COUNT) return FIL_OK;
  return fil_isa_activations(forced) == FIL_F16 ? FIL_E_UNSUPPORTED : FIL_E_ISA;
}

fil_status fil_open(fil_model *m, const void *file, size_t bytes) {
  *m = (fil_model){.file = file, .bad_item = -1};
  if ((uintptr_t)file % FIL_ALIGN) return FIL_E_ALIGN;
  const fil_header *h = file;
  sections s = {0};
  TRY(check_header(m, h, bytes));
  TRY(check_sections(m, h, &s));
  TRY(find_tables(m, &s));
  TRY(check_each(m, m->tensor_count, check_tensor));
  TRY(check_each(m, m->input_count + m->output_count, check_io));
  TRY(check_each(m, m->weights_count, check_weights));
  TRY(check_each(m, m->op_count, check_op));
  TRY(check_each(m, m->tensor_count, check_use));
  m->bad_item = -1;
  return choose_isas(m);
}
