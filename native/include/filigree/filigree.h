/* filigree runtime: open a packed model once, run it as often as you like.
 * Freestanding C11: no malloc, no libc but memcpy/memmove/memset/memcmp, no libm, no recursion.
 *
 *   fil_model m;
 *   if (fil_open(&m, file, file_bytes) < 0) ...            validates every byte, points into file
 *   void *arena = aligned_alloc(FIL_ALIGN, m.arena_bytes);
 *   fil_run(&m, arena, inputs, outputs);                    cannot fail once opened
 */
#ifndef FIL_FILIGREE_H
#define FIL_FILIGREE_H
#ifndef FIL_CDEF
#include <stddef.h>
#include <stdint.h>
#endif
#include "format.h"

typedef enum fil_status {
#define X(NAME, value, sentence) FIL_##NAME = value,
#include "status.def"
#undef X
} fil_status;

typedef enum fil_isa {
#define X(NAME, name, lanes) FIL_ISA_##NAME,
#include "isa.def"
#undef X
  FIL_ISA_COUNT
} fil_isa;

/* Called during a traced run, on the caller's thread, after an op has run: once, or once per step
 * of its band. */
typedef void (*fil_trace)(void *user, uint32_t op);

/* An opened model: pointers into the caller's file, which must outlive it. Plain data, copyable. */
typedef struct fil_model {
  const uint8_t *file;
  const fil_tensor *tensors;
  const fil_weights *weights;
  const fil_op *ops;
  const fil_io *io;
  const uint8_t *constants;
  const uint8_t *meta; /* JSON, or NULL */
  uint64_t constants_bytes, meta_bytes;
  uint64_t arena_bytes;
  uint64_t work; /* multiply-accumulates of one run, an upper bound */
  uint32_t tensor_count, weights_count, op_count;
  uint32_t input_count, output_count;
  uint32_t lanes;
  uint32_t required; /* fil_feature bits */
  fil_isa isa;       /* chosen by fil_open: the fastest that this CPU and this file allow */
  fil_isa isa_f16;   /* the same for operations on float16; FIL_ISA_COUNT: there are none */
  int32_t bad_item;  /* after a failed open: the index of the section (E_CRC, E_SECTIONS), tensor
                      * (E_TENSOR, E_LIFETIME), port (E_IO), weights or op at fault, else -1 */
} fil_model;

/* Validate `bytes` bytes at `file` (aligned to FIL_ALIGN) and fill *m. Returns FIL_OK or the first
 * fault found; on a fault *m must not be run. Never reads outside [file, file + bytes). FIL_E_ISA
 * comes last: the file is valid and *m describes it, but nothing here can run it. */
fil_status fil_open(fil_model *m, const void *file, size_t bytes);

/* Run the inference program. arena: m->arena_bytes bytes, aligned to FIL_ALIGN, contents ignored.
 * inputs[i], outputs[i]: contiguous row-major buffers of fil_io[i]'s shape, aligned to 4 bytes;
 * no buffer may overlap another or the arena. */
void fil_run(const fil_model *m, void *arena, const void *const *inputs, void *const *outputs);

/* The same, calling trace(user, op index) after every op: per-layer timing and inspection. */
void fil_run_traced(const fil_model *m, void *arena, const void *const *inputs,
                    void *const *outputs, fil_trace trace, void *user);

/* How one run uses several threads. The library starts none: `run` is the caller's (hosted/pool.h
 * has one over POSIX threads) and calls task(data, part) once for every part in [0, parts), in any
 * order and on any threads, and returns when all of them have and what they wrote can be read. A
 * task never waits for another, so calling them one after the other is right too. */
typedef struct fil_parallel {
  void (*run)(void *self, void (*task)(void *data, uint32_t part), void *data, uint32_t parts);
  void *self;
  uint32_t threads; /* the most parts of an op, 1 or more */
  void *scratch;    /* (threads - 1) * scratch_bytes, aligned to FIL_ALIGN; one run at a time */
  uint64_t scratch_bytes; /* of a thread: fil_parallel_scratch(m) */
} fil_parallel;

/* Bytes of scratch of every thread but the first, which has the arena's: a multiple of FIL_ALIGN,
 * 0 if the program needs none. */
uint64_t fil_parallel_scratch(const fil_model *m);

/* fil_run_traced on several threads: to the same bits, however many. parallel and trace may be
 * NULL. Every op is split into parts of equal work; one too small to be worth it runs in the
 * caller. */
void fil_run_parallel(const fil_model *m, void *arena, const void *const *inputs,
                      void *const *outputs, const fil_parallel *parallel, fil_trace trace,
                      void *user);

/* Where a tensor lives during a run (arena or constant tensors), for inspection. */
const void *fil_tensor_data(const fil_model *m, const void *arena, uint32_t tensor);

/* Bytes of scratch an op needs on any ISA. The op's kind and conv/pool/... fields must be filled
 * in; of its weights (NULL if it has none) dtype, block_rows, cols and blocks are read.
 * activations: the element type of its tensors. */
uint64_t fil_op_scratch(const fil_op *op, const fil_weights *weights, uint8_t activations);

/* The best ISA of float32 that this CPU and build have; whether one is present; its name; by name
 * (-1: unknown). */
fil_isa fil_isa_best(void);
int fil_isa_present(fil_isa isa);
const char *fil_isa_name(fil_isa isa);
int fil_isa_find(const char *name);
uint32_t fil_isa_lanes(fil_isa isa);
uint8_t fil_isa_activations(fil_isa isa); /* what it computes with: FIL_F32 or FIL_F16 */

/* Force an ISA for models opened later (-1: automatic again); FIL_E_UNSUPPORTED if absent. One of
 * float32 leaves operations on float16 to another. */
fil_status fil_isa_force(int isa);

const char *fil_status_name(fil_status status);     /* "E_CRC" */
const char *fil_status_sentence(fil_status status); /* "a checksum does not match" */

uint32_t fil_crc32c(uint32_t crc, const void *data, size_t bytes); /* start with crc = 0 */
const char *fil_version(void);                                     /* library version, "0.1.0" */
#endif
