/* ./example [MODEL [INPUTS [THREADS]]]: runs a packed model once and prints its outputs, a number a
 * line. INPUTS: raw values of every input in order; without it they are zero. */
#include "hosted/team.h"
#include <stdio.h>
#include <stdlib.h>

static void *allocate(size_t bytes) { /* zeroed, aligned to FIL_ALIGN, kept to the end */
  char *p = calloc(1, bytes + FIL_ALIGN);
  return p ? p + (FIL_ALIGN - (uintptr_t)p % FIL_ALIGN) : (perror("memory"), exit(1), NULL);
}

static void *read_model(const char *path, size_t *bytes) {
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) return perror(path), exit(1), NULL;
  *bytes = (size_t)ftell(f);
  void *data = allocate(*bytes);
  rewind(f);
  *bytes = fread(data, 1, *bytes, f);
  return fclose(f), data;
}

static size_t bytes_of(const fil_model *m, uint32_t port) {
  return (size_t)m->tensors[m->io[port].tensor].bytes;
}

static fil_parallel start_threads(const fil_model *m, uint32_t threads) {
  fil_parallel p = {.run = fil_team_run, .self = fil_team_create(threads), .threads = threads};
  if (!p.self) perror("threads"), exit(1);
  p.scratch_bytes = fil_parallel_scratch(m);
  p.scratch = allocate((size_t)p.scratch_bytes * (threads - 1));
  return p;
}

int main(int argc, char **argv) {
  size_t bytes;
  void *file = read_model(argc > 1 ? argv[1] : "model.fil", &bytes);
  fil_model m;
  fil_status status = fil_open(&m, file, bytes); /* validates every byte */
  if (status != FIL_OK) return fprintf(stderr, "%s\n", fil_status_sentence(status)), 1;

  void *ports[FIL_MAX_IO], *arena = allocate((size_t)m.arena_bytes);
  uint32_t count = m.input_count + m.output_count;
  for (uint32_t i = 0; i < count; i++) ports[i] = allocate(bytes_of(&m, i));
  FILE *inputs = argc > 2 ? fopen(argv[2], "rb") : NULL;
  for (uint32_t i = 0; inputs && i < m.input_count; i++)
    if (fread(ports[i], 1, bytes_of(&m, i), inputs) != bytes_of(&m, i))
      return fprintf(stderr, "%s is too short\n", argv[2]), 1;

  fil_parallel threads = start_threads(&m, argc > 3 ? (uint32_t)atoi(argv[3]) : 1);
  void **outputs = ports + m.input_count; /* fil_run does with one thread what this does with any */
  fil_run_parallel(&m, arena, (const void *const *)ports, outputs, &threads, NULL, NULL);
  fil_team_destroy(threads.self);
  for (uint32_t i = m.input_count; i < count; i++)
    for (size_t k = 0; k < bytes_of(&m, i) / sizeof(float); k++)
      printf("%.9g\n", ((float *)ports[i])[k]);
  return 0;
}
