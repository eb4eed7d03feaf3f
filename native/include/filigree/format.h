/* The packed model (.fil), version 1: the single definition of every byte.
 *
 * Little-endian. header, section table, then sections: sorted by kind, each starting at the next
 * multiple of FIL_ALIGN after its predecessor's end (the gap is zero), the last one ending exactly
 * at the end of the file. Nothing in it is a pointer, so it is read in place: mmapped on a phone,
 * executed from flash on a microcontroller.  native/SPEC.md explains each field in words.
 *
 * C, CMake-less bundles and Python (through cffi) all read this file: nothing is defined twice.
 */
#ifndef FIL_FORMAT_H
#define FIL_FORMAT_H
#ifndef FIL_CDEF
#include <stdint.h>
#endif

enum {
  FIL_MAGIC = 0x314c4946, /* "FIL1" */
  FIL_VERSION = 1,
  FIL_ALIGN = 64,    /* sections, arena, and every tensor and weight blob inside them */
  FIL_TILE = 64,     /* positions in one panel */
  FIL_WIDE = 2048,   /* float16 weights that are widened at a time, unless one group is more */
  FIL_RUN = 16,      /* stored blocks of int4 weights that share a scale for each row */
  FIL_NONE = 0xffff, /* "no tensor", "no weights" */
  FIL_MAX_RANK = 6,
  FIL_MAX_DIM = 1 << 20,
  FIL_MAX_ELEMENTS = 1 << 28,
  FIL_MAX_TENSORS = 8192,
  FIL_MAX_OPS = 8192,
  FIL_MAX_WEIGHTS = 8192,
  FIL_MAX_IO = 64,
  FIL_MAX_SECTIONS = 16,
  FIL_MAX_COLS = 65535,   /* of one weight matrix: indices fit u16 */
  FIL_MAX_WORK_LOG2 = 40, /* a run stays under 2^40 multiply-accumulates: no file can hang it */
  FIL_MAP_RANK = 4,
  FIL_MAX_BAND = 16, /* operations that run together, band by band */
  FIL_NAME_BYTES = 48
};

typedef enum fil_section_kind {
  FIL_SECTION_TENSORS = 1, /* fil_tensor[] */
  FIL_SECTION_WEIGHTS = 2, /* fil_weights[] */
  FIL_SECTION_PROGRAM = 3, /* fil_op[]: inference */
  FIL_SECTION_TRAIN = 4,   /* fil_op[]: the on-device update (later versions) */
  FIL_SECTION_IO = 5,      /* fil_io[]: inputs, then outputs */
  FIL_SECTION_CONST = 6,   /* bytes: weight values, index lists, biases, constant tensors */
  FIL_SECTION_STATE = 7,   /* bytes: what training changes (later versions) */
  FIL_SECTION_META = 8     /* UTF-8 JSON for hosts; a device may drop it */
} fil_section_kind;

typedef enum fil_dtype {
  FIL_F32 = 1,
  FIL_F16 = 2,
  FIL_S8 = 3,
  FIL_U8 = 4,
  FIL_S32 = 5,
  FIL_S4 = 6
} fil_dtype;

/* Bits of fil_header.required. */
typedef enum fil_feature {
  FIL_NEEDS_F16 = 1 /* tensors of float16: arithmetic in float16 */
} fil_feature;

typedef enum fil_place {
  FIL_PLACE_ARENA = 0,  /* offset into the arena */
  FIL_PLACE_INPUT = 1,  /* the caller's buffer: io index in offset; pitch == positions */
  FIL_PLACE_OUTPUT = 2, /* the same */
  FIL_PLACE_CONST = 3   /* offset into the CONST section */
} fil_place;

typedef enum fil_coding {
  FIL_CODING_NONE = 0, /* dense: no index list */
  FIL_CODING_D8 = 1,   /* u8 steps from the previous index (the first from 0); a gap over 255 is
                          bridged by a stored block of zeros, so the kernel never tests */
  FIL_CODING_U16 = 2   /* u16 absolute indices */
} fil_coding;

typedef enum fil_op_kind {
#define X(NAME, name, member) FIL_OP_##NAME,
#include "op.def"
#undef X
  FIL_OP_COUNT
} fil_op_kind;

typedef enum fil_act {
#define X(NAME, name) FIL_ACT_##NAME,
#include "act.def"
#undef X
  FIL_ACT_COUNT
} fil_act;

typedef enum fil_map_fn {
#define X(NAME, name) FIL_MAP_##NAME,
#include "map.def"
#undef X
  FIL_MAP_COUNT
} fil_map_fn;

typedef enum fil_qmap_fn {
#define X(NAME, name) FIL_QMAP_##NAME,
#include "qmap.def"
#undef X
  FIL_QMAP_COUNT
} fil_qmap_fn;

typedef enum fil_pool_mode {
  FIL_POOL_MAX = 0,
  FIL_POOL_AVG = 1,
  FIL_POOL_AVG_PAD = 2,
  FIL_POOL_AVG_AWAY = 3 /* of integers as they are; ties go away from 0 */
} fil_pool_mode;

typedef enum fil_reduce_fn {
  FIL_REDUCE_MEAN = 0,
  FIL_REDUCE_SUM = 1,
  FIL_REDUCE_MAX = 2
} fil_reduce_fn;

/* 64 bytes, then section_count * fil_section. */
typedef struct fil_header {
  uint32_t magic;
  uint16_t version;
  uint16_t lanes; /* arena planes are padded to a multiple of this many elements: 1, 4, 8 or 16 */
  uint32_t required; /* fil_feature bits, all of which a reader must have */
  uint32_t optional; /* feature bits a reader may ignore */
  uint64_t file_bytes;
  uint64_t arena_bytes;
  uint32_t section_count;
  uint32_t crc; /* CRC-32C of header and section table, this field as zero */
  uint8_t reserved[24];
} fil_header;

typedef struct fil_section {
  uint32_t kind;
  uint32_t crc; /* CRC-32C of the section's bytes */
  uint64_t offset;
  uint64_t bytes;
} fil_section;

/* A tensor is planes of positions: planes = product of dim[0, split), positions = product of
 * dim[split, rank), element (plane, position) at plane * pitch + position.
 * pitch >= positions; in the arena pitch is a multiple of header.lanes.
 * bytes = planes * pitch * element size (all of it in bounds). Tensors of the arena and constants
 * have an element type of their own, ports are float32; all tensors of an op have the same one, but
 * for a MAP COPY without an activation, which converts. */
typedef struct fil_tensor {
  uint8_t dtype;
  uint8_t place;
  uint8_t rank;
  uint8_t split;
  uint32_t pitch;
  uint32_t dim[6]; /* storage order; unused entries are 1 */
  uint64_t offset;
  uint64_t bytes;
  uint16_t first_op; /* arena: the op that writes it first */
  uint16_t last_op;  /* arena: the last op that touches it */
  float scale;       /* int8, uint8: q stands for (q - zero) * scale; else 0 */
  int32_t zero;
  uint8_t reserved[4];
} fil_tensor;

/* int8: the kinds from QSPMM on. sum = bias + W q exactly, in int32, where bias has the input's
 * zero folded in; out = clamp(round(sum * multiplier [+ (y - zy) * (sy / s)])) + z, each product
 * and sum of it rounded to float32, round to nearest, ties to even: the same bits on every
 * processor. What a convolution reads outside its input is the input's zero. NONE and CLAMP are the
 * only activations; act_lo and act_hi are whole numbers of int8 then. */

/* rows x cols weights in groups of block_rows neighbouring rows sharing one index list.
 * values: for each group, for each stored index, block_rows values (rows past the end are zero),
 * float32 or float16 as dtype says. Arithmetic is float32 either way; a half that is not finite
 * stands for some number.
 * Offsets are into the CONST section, multiples of FIL_ALIGN. bias_offset always exists
 * (groups * block_rows values of f32, zero past rows).
 * Dense (coding NONE): every group stores all cols indices and there is no index list or count.
 * FIL_S8: a group's indices are taken four at a time, zero weights after the last: for each such
 * quad, for each row, its four weights. bias is int32; one multiplier for each row beside it.
 * FIL_S4 (SPMM4, SPMV4): a group's values are nibbles of two's complement, the lower half of a byte
 * first, and zeros up to a multiple of 8 bytes. FIL_RUN stored blocks, fewer at the group's end,
 * are a run; a weight is its nibble times the float16 scale of its run and row. */
typedef struct fil_weights {
  uint8_t dtype;      /* of the values: FIL_F32, FIL_F16, FIL_S8 or FIL_S4 */
  uint8_t block_rows; /* O: 1, 2, 4, 8, 16 */
  uint8_t coding;
  uint8_t reserved0;
  uint32_t rows;
  uint32_t cols;
  uint32_t groups; /* ceil(rows / block_rows) */
  uint32_t blocks; /* stored blocks over all groups */
  uint32_t reserved1;
  uint64_t values_offset; /* blocks * block_rows values */
  uint64_t index_offset;  /* blocks steps or indices */
  uint64_t count_offset;  /* u16[groups]: stored blocks per group */
  uint64_t bias_offset;
  /* FIL_S8: float32[groups * block_rows]. FIL_S4: float16, per group, per run, block_rows scales.
   * Else 0. */
  uint64_t multiplier_offset;
} fil_weights;

/* SPMM, CONV, DWCONV, SPMV, PIXELS, and SPMM4 and SPMV4 as SPMM and SPMV. Input channel c, row y,
 * column x is element x_offset + c * cs + y * ys + x * xs of in[0]: planar input has cs = pitch, ys
 * = in_w, xs = 1; camera HWC has cs = 1, ys = in_w * channels, xs = channels. Columns of the weight
 * matrix run over (channel, ky, kx), kx fastest. SPMM: 1x1, stride 1, no padding, planar. DWCONV:
 * planar, weights are dense channels x (kh*kw) with block_rows 1, row c applied to plane c. SPMV:
 * in_h = in_w = out_h = out_w = 1; input is cols contiguous values, output rows contiguous. Output
 * channel r, position p is element out_offset + r * (pitch of out) + p. in[1], if not FIL_NONE, is
 * a residual with the output's layout, added before the activation: element y_offset + r * (its
 * pitch) + p. PIXELS: 1x1 and without weights; in[0] may be u8 and out float16, output channel c is
 * x * scale[c] + shift[c], and in[1] has those: channels scales, then channels shifts, from
 * y_offset on.
 *
 * Bands: SPMM, SPMM4, CONV, DWCONV and PIXELS operations that follow each other may run together,
 * some rows at a time (runtime/band.c), so that what passes between them stays in the cache. A
 * tensor between them may then be a ring of fewer rows than the image: row y lies at row y % ring.
 * A row that is not the last starts, and a ring ends, at a multiple of the file's lanes. */
typedef struct fil_conv {
  uint32_t channels, in_h, in_w, out_h, out_w;
  uint32_t cs, ys, xs;
  uint16_t kh, kw, sh, sw, dh, dw;
  uint16_t pad_top, pad_left; /* what the output size implies on the other sides is zero too */
  uint16_t band_ops;          /* on the first of a band's operations: how many; else 0 */
  uint16_t band_rows;         /* and output rows that the last of them makes at a time */
  uint16_t x_ring, y_ring, out_ring; /* rows that in[0], in[1] and out hold; 0: all of them */
  uint16_t reserved;
} fil_conv;

/* Plane by plane, planes channels; padding is left out of max and AVG, counted by AVG_PAD (up to
 * pad_bottom / pad_right; a window's cells past those, from ceil mode, never count). */
typedef struct fil_pool {
  uint32_t channels, in_h, in_w, out_h, out_w;
  uint16_t kh, kw, sh, sw, dh, dw;
  uint16_t pad_top, pad_left, pad_bottom, pad_right;
  uint8_t mode;
  uint8_t reserved[3];
} fil_pool;

/* out[out_offset + sum i*so] = act(fn(in0[x_offset + sum i*sa], in1[y_offset + sum i*sb])),
 * i over dim[0] x .. x dim[3], last fastest; strides in elements, 0 broadcasts. */
typedef struct fil_map {
  uint32_t dim[4];
  int32_t sa[4], sb[4], so[4];
} fil_map;

/* out[out_offset + o*outer_so + n*inner_so] =
 *   fn over r of in0[x_offset + o*outer_s + r*reduce_s + n*inner_s] */
typedef struct fil_reduce {
  uint32_t outer, reduce, inner;
  uint32_t outer_s, reduce_s, inner_s;
  uint32_t outer_so, inner_so;
  uint8_t fn;
  uint8_t reserved[3];
} fil_reduce;

/* Softmax over `axis` elements axis_s apart, for every (outer, inner); in and out share strides. */
typedef struct fil_softmax {
  uint32_t outer, axis, inner;
  uint32_t outer_s, axis_s, inner_s;
} fil_softmax;

/* Two activations: C[b, m, n] = sum_k A[b, m, k] * B[b, k, n], n contiguous in B and C.
 * a: x_offset + b*ab + m*am + k*ak; b: y_offset + b*bb + k*bk + n;
 * c: out_offset + b*cb + m*cm + n. */
typedef struct fil_matmul {
  uint32_t batch, m, n, k;
  uint32_t ab, am, ak, bb, bk, cb, cm;
} fil_matmul;

/* One operation; offsets in elements of the tensor's dtype. Unused fields and bytes are zero. */
typedef struct fil_op {
  uint16_t kind;
  uint8_t act;
  uint8_t fn; /* MAP: fil_map_fn; QMAP: fil_qmap_fn */
  uint16_t in[2];
  uint16_t out;
  uint16_t weights;
  uint32_t x_offset, y_offset, out_offset;
  uint32_t scratch_offset; /* bytes into the arena */
  uint32_t scratch_bytes;
  float act_lo, act_hi;
  union {
    fil_conv conv;
    fil_pool pool;
    fil_map map;
    fil_reduce reduce;
    fil_softmax softmax;
    fil_matmul matmul;
    uint8_t bytes[64];
  } p;
} fil_op;

/* Inputs first, then outputs. The shape here is the caller's view (contiguous, row-major); the
 * tensor holds the same number of elements in the same order. */
typedef struct fil_io {
  uint16_t tensor;
  uint8_t is_output;
  uint8_t rank;
  uint32_t dim[6];
  uint8_t reserved[4];
  char name[48]; /* zero-terminated UTF-8 */
} fil_io;

#ifndef FIL_CDEF
_Static_assert(sizeof(fil_header) == 64, "format");
_Static_assert(sizeof(fil_section) == 24, "format");
_Static_assert(sizeof(fil_tensor) == 64, "format");
_Static_assert(sizeof(fil_weights) == 64, "format");
_Static_assert(sizeof(fil_op) == 104, "format");
_Static_assert(sizeof(fil_io) == 80, "format");
#endif
#endif
