/* runner MODEL OUT-PREFIX ISA REPEATS THREADS IN...
 * Opens a packed model and runs it REPEATS times (0: only opens it) on THREADS threads and on raw
 * files of the elements of each input port, writing OUT-PREFIX0, OUT-PREFIX1, ... ISA "auto" leaves
 * the choice to the runtime. Prints {"isa": "neon", "outputs": [[1, 10]], "dtypes": [1], "ops": [0,
 * 1]}: dtypes as fil_dtype, ops as the last run did them, the same one several times where some
 * rows at a time are done. What is wrong goes to stderr; exit codes: */
#include "hosted/team.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_SYSTEM = 1, EXIT_USAGE = 2, EXIT_INPUT = 3, EXIT_REFUSED = 7 };

static void *allocate(size_t bytes) {
  void *p = aligned_alloc(FIL_ALIGN, (bytes + FIL_ALIGN) & ~(size_t)(FIL_ALIGN - 1));
  if (p) return p;
  fprintf(stderr, "out of memory: %zu bytes\n", bytes);
  exit(EXIT_SYSTEM);
}

static void *file_failed(const char *path) {
  perror(path);
  exit(EXIT_SYSTEM);
}

static void *file_read(const char *path, size_t *bytes) {
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) return file_failed(path);
  long size = ftell(f);
  if (size < 0 || fseek(f, 0, SEEK_SET)) return file_failed(path);
  void *data = allocate((size_t)size);
  if (fread(data, 1, (size_t)size, f) != (size_t)size) return file_failed(path);
  fclose(f);
  *bytes = (size_t)size;
  return data;
}

static void file_write(const char *prefix, uint32_t i, const void *data, size_t bytes) {
  char path[4096];
  snprintf(path, sizeof path, "%s%u", prefix, (unsigned)i);
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(data, 1, bytes, f) != bytes || fclose(f)) file_failed(path);
}

static size_t port_bytes(const fil_model *m, uint32_t port) {
  return (size_t)m->tensors[m->io[port].tensor].bytes;
}

static void isa_force(const char *name) {
  if (!strcmp(name, "auto")) return;
  int isa = fil_isa_find(name);
  if (isa >= 0 && fil_isa_force(isa) == FIL_OK) return;
  fprintf(stderr, "%s is not in this build, or failed its self-test\n", name);
  exit(EXIT_USAGE);
}

static void model_open(fil_model *m, const char *path) {
  size_t bytes;
  void *file = file_read(path, &bytes);
  fil_status status = fil_open(m, file, bytes);
  if (status == FIL_OK) return;
  const char *sentence = fil_status_sentence(status);
  fprintf(stderr, "%s: %s (item %d)\n", fil_status_name(status), sentence, (int)m->bad_item);
  exit(EXIT_REFUSED);
}

static const void **inputs_read(const fil_model *m, char **paths) {
  const void **inputs = allocate(m->input_count * sizeof *inputs);
  for (uint32_t i = 0; i < m->input_count; i++) {
    size_t bytes, wanted = port_bytes(m, i);
    inputs[i] = file_read(paths[i], &bytes);
    if (bytes == wanted) continue;
    fprintf(stderr, "input %u has %zu bytes, the model takes %zu\n", (unsigned)i, bytes, wanted);
    exit(EXIT_INPUT);
  }
  return inputs;
}

static void **outputs_allocate(const fil_model *m) {
  void **outputs = allocate(m->output_count * sizeof *outputs);
  for (uint32_t i = 0; i < m->output_count; i++) {
    size_t bytes = port_bytes(m, m->input_count + i);
    outputs[i] = memset(allocate(bytes), 0, bytes);
  }
  return outputs;
}

/* Called before the first operation and after each: what a counter attached to this program marks
 * (packaging/count.py). */
void runner_mark(void);
__attribute__((noinline)) void runner_mark(void) { __asm__ volatile(""); }

enum { MOST_OPS = 1 << 16 };
static uint32_t ops[MOST_OPS], op_count;

static void op_done(void *user, uint32_t op) {
  (void)user;
  if (op_count < MOST_OPS) ops[op_count++] = op;
  runner_mark();
}

static void run(const fil_model *m, void *arena, const void **inputs, void **outputs,
                const fil_parallel *threads) {
  op_count = 0;
  runner_mark();
  fil_run_parallel(m, arena, inputs, outputs, threads, op_done, 0);
}

static fil_parallel threads_start(const fil_model *m, const char *count) {
  fil_parallel p = {.run = fil_team_run, .threads = (uint32_t)strtoul(count, 0, 10)};
  p.self = fil_team_create(p.threads);
  p.scratch_bytes = fil_parallel_scratch(m);
  if (!p.self) fprintf(stderr, "%s threads cannot be started\n", count), exit(EXIT_USAGE);
  p.scratch = allocate((size_t)p.scratch_bytes * (p.threads - 1));
  return p;
}

static void describe(const fil_model *m) {
  printf("{\"isa\": \"%s\", \"outputs\": [",
         fil_isa_name(m->isa_f16 < FIL_ISA_COUNT ? m->isa_f16 : m->isa));
  for (uint32_t i = 0; i < m->output_count; i++) {
    const fil_io *port = &m->io[m->input_count + i];
    fputs(i ? ", [" : "[", stdout);
    for (int d = 0; d < port->rank; d++) printf(d ? ", %u" : "%u", (unsigned)port->dim[d]);
    putchar(']');
  }
  fputs("], \"dtypes\": [", stdout);
  for (uint32_t i = 0; i < m->output_count; i++)
    printf(i ? ", %u" : "%u", m->tensors[m->io[m->input_count + i].tensor].dtype);
  fputs("], \"ops\": [", stdout);
  for (uint32_t i = 0; i < op_count; i++) printf(i ? ", %u" : "%u", (unsigned)ops[i]);
  puts("]}");
}

int main(int argc, char **argv) {
  if (argc < 6)
    return fputs("runner MODEL OUT-PREFIX ISA REPEATS THREADS IN...\n", stderr), EXIT_USAGE;
  fil_model m;
  isa_force(argv[3]);
  model_open(&m, argv[1]);
  if ((uint32_t)argc - 6 != m.input_count)
    return fprintf(stderr, "%d inputs, the model takes %u\n", argc - 6, m.input_count), EXIT_INPUT;
  const void **inputs = inputs_read(&m, argv + 6);
  void **outputs = outputs_allocate(&m);
  void *arena = allocate((size_t)m.arena_bytes);
  fil_parallel threads = threads_start(&m, argv[5]);
  for (long n = strtol(argv[4], 0, 10); n > 0; n--) run(&m, arena, inputs, outputs, &threads);
  fil_team_destroy(threads.self);
  for (uint32_t i = 0; i < m.output_count; i++)
    file_write(argv[2], i, outputs[i], port_bytes(&m, m.input_count + i));
  describe(&m);
  return 0;
}
