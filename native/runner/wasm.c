/* A WebAssembly module that imports nothing, but its memory if wasm_threads.c is linked in: one
 * packed model per instance.
 *
 *   p = fil_w_alloc(bytes)          64-byte aligned, never freed; 0: the host has no more memory
 *   fil_w_force(name)               optional: the instruction set, a zero-terminated name
 *   fil_w_open(p, bytes)            fil_status; allocates the arena and a buffer per port
 *   fil_w_port(i), fil_w_bytes(i)   inputs first, then outputs; write inputs there, read outputs
 *   fil_w_run()                     as often as you like
 */
#include "runner/wasm.h"

enum { PAGE = 65536 };

extern unsigned char __heap_base;

static uintptr_t heap;
static fil_model model;
static const fil_parallel *parallel; /* NULL: one thread */
static void *arena;
static void *ports[FIL_MAX_IO];

/* With bulk memory these are one instruction each, so the compiler's calls end here. */
void *memcpy(void *restrict to, const void *restrict from, size_t n) {
  return __builtin_memcpy(to, from, n);
}

void *memmove(void *to, const void *from, size_t n) { return __builtin_memmove(to, from, n); }

void *memset(void *to, int byte, size_t n) { return __builtin_memset(to, byte, n); }

int memcmp(const void *a, const void *b, size_t n) {
  const unsigned char *x = a, *y = b;
  for (size_t i = 0; i < n; i++)
    if (x[i] != y[i]) return x[i] - y[i];
  return 0;
}

void *EXPORT(fil_w_alloc)(uint32_t bytes) {
  uint64_t start = heap ? heap : (uintptr_t)&__heap_base;
  start = (start + FIL_ALIGN - 1) & ~(uint64_t)(FIL_ALIGN - 1);
  uint64_t end = start + bytes, have = (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
  if (end > UINT32_MAX) return 0;
  if (end > have &&
      __builtin_wasm_memory_grow(0, (size_t)((end - have + PAGE - 1) / PAGE)) == SIZE_MAX)
    return 0;
  heap = (uintptr_t)end;
  return (void *)(uintptr_t)start;
}

int32_t EXPORT(fil_w_force)(const char *name) {
  int isa = fil_isa_find(name);
  return isa < 0 ? FIL_E_UNSUPPORTED : fil_isa_force(isa);
}

uint32_t EXPORT(fil_w_inputs)(void) { return model.input_count; }

uint32_t EXPORT(fil_w_outputs)(void) { return model.output_count; }

uint32_t EXPORT(fil_w_rank)(uint32_t port) { return model.io[port].rank; }

uint32_t EXPORT(fil_w_dim)(uint32_t port, uint32_t axis) { return model.io[port].dim[axis]; }

uint32_t EXPORT(fil_w_dtype)(uint32_t port) { return model.tensors[model.io[port].tensor].dtype; }

void *EXPORT(fil_w_port)(uint32_t port) { return ports[port]; }

uint32_t EXPORT(fil_w_bytes)(uint32_t port) {
  return (uint32_t)model.tensors[model.io[port].tensor].bytes;
}

int32_t EXPORT(fil_w_open)(const void *file, uint32_t bytes) {
  fil_status status = fil_open(&model, file, bytes);
  if (status != FIL_OK) return status;
  if (model.arena_bytes > UINT32_MAX) return FIL_E_ARENA;
  arena = fil_w_alloc((uint32_t)model.arena_bytes);
  if (!arena) return FIL_E_ARENA;
  for (uint32_t i = 0; i < model.input_count + model.output_count; i++) {
    ports[i] = fil_w_alloc(fil_w_bytes(i));
    if (!ports[i]) return FIL_E_ARENA;
  }
  return FIL_OK;
}

const fil_model *fil_w_opened(void) { return &model; }

void fil_w_use(const fil_parallel *threads) { parallel = threads; }

int32_t EXPORT(fil_w_bad_item)(void) { return model.bad_item; }

void EXPORT(fil_w_run)(void) {
  void **outputs = ports + model.input_count;
  fil_run_parallel(&model, arena, (const void *const *)ports, outputs, parallel, 0, 0);
}

const char *EXPORT(fil_w_isa)(void) { return fil_isa_name(model.isa); }

const char *EXPORT(fil_w_status)(int32_t status) { return fil_status_name((fil_status)status); }

const char *EXPORT(fil_w_sentence)(int32_t status) {
  return fil_status_sentence((fil_status)status);
}
