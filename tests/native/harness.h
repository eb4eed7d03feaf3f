/* For the C tests and the fuzz target: damage a file, repair its checksums, run what is accepted
 * with every byte that an op has no business with poisoned (AddressSanitizer). */
#ifndef FIL_HARNESS_H
#define FIL_HARNESS_H
#define _POSIX_C_SOURCE 200112L /* posix_memalign */
#include "filigree/filigree.h"
#include "runtime/band.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIL_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(FIL_ASAN)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

/* Exactly `bytes` bytes, aligned to FIL_ALIGN: one byte past the end is a fault. */
static void *exact(uint64_t bytes) {
  void *p = NULL;
  if (posix_memalign(&p, FIL_ALIGN, bytes ? (size_t)bytes : 1)) abort();
  return p;
}

static uint8_t *exact_copy(const void *data, size_t bytes) {
  uint8_t *p = exact(bytes);
  if (bytes) memcpy(p, data, bytes);
  return p;
}

static inline uint8_t *read_file(const char *path, size_t *bytes) {
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) exit(2);
  *bytes = (size_t)ftell(f);
  rewind(f);
  uint8_t *data = exact(*bytes);
  if (fread(data, 1, *bytes, f) != *bytes) exit(2);
  fclose(f);
  return data;
}

/* Make every checksum that can be found right, so that damage reaches the deeper checks. */
static void repair(uint8_t *file, size_t bytes) {
  fil_header h;
  if (bytes < sizeof h) return;
  memcpy(&h, file, sizeof h);
  uint64_t table_end = sizeof h + (uint64_t)h.section_count * sizeof(fil_section);
  if (h.section_count > FIL_MAX_SECTIONS || table_end > bytes) return;
  for (uint32_t i = 0; i < h.section_count; i++) {
    uint8_t *row = file + sizeof h + i * sizeof(fil_section);
    fil_section s;
    memcpy(&s, row, sizeof s);
    if (s.offset > bytes || s.bytes > bytes - s.offset) continue;
    s.crc = fil_crc32c(0, file + s.offset, (size_t)s.bytes);
    memcpy(row, &s, sizeof s);
  }
  memset(file + offsetof(fil_header, crc), 0, 4);
  uint32_t crc = fil_crc32c(0, file, (size_t)table_end);
  memcpy(file + offsetof(fil_header, crc), &crc, 4);
}

typedef struct guard {
  const fil_model *m;
  uint8_t *arena;
} guard;

static void allow_tensor(const guard *g, uint16_t id) {
  if (id == FIL_NONE) return;
  const fil_tensor *t = &g->m->tensors[id];
  const void *p = fil_tensor_data(g->m, g->arena, id);
  if (p) ASAN_UNPOISON_MEMORY_REGION(p, (size_t)t->bytes);
}

/* Stored blocks of group g; counts may be read. */
static uint32_t stored(const uint8_t *constants, const fil_weights *w, uint32_t g) {
  const uint16_t *count = (const uint16_t *)(const void *)(constants + w->count_offset);
  return w->coding == FIL_CODING_NONE ? w->cols : count[g];
}

/* Bytes of a matrix's values; those of int8 are stored in quads, those of int4 in eight bytes. */
static size_t values_bytes(const uint8_t *constants, const fil_weights *w) {
  size_t quads = 0, units = 0;
  if (w->dtype == FIL_S4) {
    for (uint32_t g = 0; g < w->groups; g++)
      units += (stored(constants, w, g) * w->block_rows + 15) / 16;
    return units * 8;
  }
  if (w->dtype != FIL_S8) return (size_t)w->blocks * w->block_rows * (w->dtype == FIL_F16 ? 2 : 4);
  for (uint32_t g = 0; g < w->groups; g++)
    quads += (stored(constants, w, g) + 3) / 4;
  return quads * 4 * w->block_rows;
}

/* Bytes of what goes with the values of int8 (multipliers) and int4 (scales). */
static size_t factors_bytes(const uint8_t *constants, const fil_weights *w) {
  size_t runs = 0;
  if (w->dtype == FIL_S8) return (size_t)w->groups * w->block_rows * 4;
  if (w->dtype != FIL_S4) return 0;
  for (uint32_t g = 0; g < w->groups; g++)
    runs += (stored(constants, w, g) + FIL_RUN - 1) / FIL_RUN;
  return runs * w->block_rows * 2;
}

static void allow_weights(const guard *g, uint16_t id) {
  if (id == FIL_NONE) return;
  const fil_weights *w = &g->m->weights[id];
  const uint8_t *c = g->m->constants;
  size_t rows = (size_t)w->groups * w->block_rows;
  if (w->coding != FIL_CODING_NONE) {
    ASAN_UNPOISON_MEMORY_REGION(c + w->index_offset, (size_t)w->blocks * w->coding);
    ASAN_UNPOISON_MEMORY_REGION(c + w->count_offset, (size_t)w->groups * 2);
  }
  ASAN_UNPOISON_MEMORY_REGION(c + w->values_offset, values_bytes(c, w));
  ASAN_UNPOISON_MEMORY_REGION(c + w->bias_offset, rows * 4);
  if (factors_bytes(c, w))
    ASAN_UNPOISON_MEMORY_REGION(c + w->multiplier_offset, factors_bytes(c, w));
}

static void allow_op(const guard *g, const fil_op *op) {
  allow_tensor(g, op->in[0]);
  allow_tensor(g, op->in[1]);
  allow_tensor(g, op->out);
  allow_weights(g, op->weights);
  ASAN_UNPOISON_MEMORY_REGION(g->arena + op->scratch_offset, op->scratch_bytes);
}

/* An op, and those that take turns with it. */
static void allow_band(const guard *g, uint32_t i) {
  if (i >= g->m->op_count) return;
  const fil_op *first = &g->m->ops[fil_band_first(g->m->ops, i)];
  for (uint32_t k = 0; k < fil_band_ops(first); k++) allow_op(g, first + k);
}

/* Only what op `next` names stays readable; of a band, what its ops do. */
static void fence(const guard *g, uint32_t next) {
  ASAN_POISON_MEMORY_REGION(g->arena, (size_t)g->m->arena_bytes);
  ASAN_POISON_MEMORY_REGION(g->m->constants, (size_t)g->m->constants_bytes);
  allow_band(g, next);
}

/* The ops of a band come again. */
static void fence_next(void *user, uint32_t op) {
  const guard *g = user;
  fence(g, op + 1);
  if (fil_band_first(g->m->ops, op) != op || fil_band_ops(&g->m->ops[op]) > 1) allow_band(g, op);
}

/* fil_parallel.run without threads, the last part first. */
static void run_backwards(void *self, void (*task)(void *data, uint32_t part), void *data,
                          uint32_t parts) {
  (void)self;
  while (parts--) task(data, parts);
}

/* Run m on every ISA that this file and machine allow, in one part and in three. */
static void run_guarded(fil_model *m) {
  void *ports[FIL_MAX_IO];
  guard g = {m, exact(m->arena_bytes)};
  fil_parallel three = {.run = run_backwards, .threads = 3};
  three.scratch_bytes = fil_parallel_scratch(m);
  three.scratch = exact(2 * three.scratch_bytes);
  uint32_t count = m->input_count + m->output_count;
  for (uint32_t i = 0; i < count; i++) {
    uint64_t bytes = m->tensors[m->io[i].tensor].bytes;
    ports[i] = exact(bytes);
    for (uint64_t k = 0; k < bytes / 4; k++) ((float *)ports[i])[k] = (float)(k % 13) - 6.0f;
  }
  memset(g.arena, 0xff, (size_t)m->arena_bytes); /* NaN: reading what nobody wrote shows */
  for (int isa = 0; isa < FIL_ISA_COUNT; isa++) {
    if (fil_isa_activations((fil_isa)isa) != FIL_F32 || !fil_isa_present((fil_isa)isa)) continue;
    if (m->lanes % fil_isa_lanes((fil_isa)isa)) continue;
    m->isa = (fil_isa)isa;
    for (int parts = 1; parts <= 3; parts += 2) {
      fence(&g, 0);
      fil_run_parallel(m, g.arena, (const void *const *)ports, ports + m->input_count,
                       parts > 1 ? &three : NULL, fence_next, &g);
    }
  }
  ASAN_UNPOISON_MEMORY_REGION(g.arena, (size_t)m->arena_bytes);
  ASAN_UNPOISON_MEMORY_REGION(m->constants, (size_t)m->constants_bytes);
  for (uint32_t i = 0; i < count; i++) free(ports[i]);
  free(g.arena);
  free(three.scratch);
}

/* Of the memory that a run takes beside the file: arena, ports, scratch of threads. */
static uint64_t run_bytes(const fil_model *m) {
  uint64_t bytes = m->arena_bytes + 2 * (uint64_t)fil_parallel_scratch(m);
  for (uint32_t i = 0; i < m->input_count + m->output_count; i++)
    bytes += m->tensors[m->io[i].tensor].bytes;
  return bytes;
}

/* Open exactly `bytes` bytes and run them if accepted and small. Returns fil_open's status. */
static inline fil_status open_and_run(const uint8_t *data, size_t bytes, int fix) {
  uint8_t *file = exact_copy(data, bytes);
  fil_model m;
  if (fix) repair(file, bytes);
  fil_status status = fil_open(&m, file, bytes);
  if (status == FIL_OK && run_bytes(&m) <= 32u << 20 && m.work <= 1u << 22) run_guarded(&m);
  free(file);
  return status;
}
#endif
