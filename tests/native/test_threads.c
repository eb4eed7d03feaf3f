/* Usage: test_threads FILE...: every packed model on every ISA, in one part and in several, gives
 * the same bits: on teams of threads, and part by part from the last to the first, each with only
 * its own bytes in reach. */
#include "harness.h"
#include "hosted/team.h"

static int failures;

static fil_parallel parallel_of(const fil_model *m, uint32_t threads) {
  fil_parallel p = {.threads = threads, .scratch_bytes = fil_parallel_scratch(m)};
  p.scratch = exact((threads - 1) * p.scratch_bytes);
  return p;
}

/* Outputs of one run, one after the other; inputs painted. */
typedef struct sample {
  const fil_model *m;
  void *arena, *ports[FIL_MAX_IO];
} sample;

static uint64_t port_bytes(const fil_model *m, uint32_t i) {
  return m->tensors[m->io[i].tensor].bytes;
}

static sample sample_of(const fil_model *m) {
  sample s = {.m = m, .arena = exact(m->arena_bytes)};
  for (uint32_t i = 0; i < m->input_count + m->output_count; i++) {
    s.ports[i] = exact(port_bytes(m, i));
    for (uint64_t k = 0; k < port_bytes(m, i) / 4; k++)
      ((float *)s.ports[i])[k] = (float)(k % 251) / 251 - 0.4f;
  }
  return s;
}

static void sample_free(sample *s) {
  for (uint32_t i = 0; i < s->m->input_count + s->m->output_count; i++) free(s->ports[i]);
  free(s->arena);
}

static void sample_run(sample *s, const fil_parallel *p) {
  memset(s->arena, 0xff, (size_t)s->m->arena_bytes);
  fil_run_parallel(s->m, s->arena, (const void *const *)s->ports, s->ports + s->m->input_count, p,
                   NULL, NULL);
}

static int same_outputs(const sample *a, const sample *b) {
  for (uint32_t i = 0; i < a->m->output_count; i++) {
    uint32_t port = a->m->input_count + i;
    if (memcmp(a->ports[port], b->ports[port], (size_t)port_bytes(a->m, port))) return 0;
  }
  return 1;
}

static void compare(const fil_model *m, sample *want, const fil_parallel *p, const char *how) {
  sample got = sample_of(m);
  for (int again = 0; again < 3; again++) {
    sample_run(&got, p);
    if (same_outputs(&got, want)) continue;
    failures++;
    fprintf(stderr, "%s, %u parts %s: other bits\n", fil_isa_name(m->isa), p->threads, how);
  }
  sample_free(&got);
}

static void test_isa(const fil_model *m) {
  static const uint32_t counts[] = {2, 3, 5};
  sample want = sample_of(m);
  sample_run(&want, NULL);
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    fil_parallel p = parallel_of(m, counts[i]);
    p.run = run_backwards;
    compare(m, &want, &p, "backwards");
    p.run = fil_team_run, p.self = fil_team_create(counts[i]);
    if (!p.self) exit(2);
    compare(m, &want, &p, "on threads");
    fil_team_destroy(p.self);
    free(p.scratch);
  }
  sample_free(&want);
}

static void test_file(const char *path) {
  size_t bytes;
  uint8_t *file = read_file(path, &bytes);
  fil_model m;
  if (fil_open(&m, file, bytes) != FIL_OK) exit(2);
  for (int isa = 0; isa < FIL_ISA_COUNT; isa++) {
    if (fil_isa_activations((fil_isa)isa) != FIL_F32 || !fil_isa_present((fil_isa)isa)) continue;
    if (m.lanes % fil_isa_lanes((fil_isa)isa)) continue;
    m.isa = (fil_isa)isa;
    test_isa(&m);
  }
  free(file);
}

/* Every part once, whatever there are more of. */
static void count_part(void *data, uint32_t part) { ((uint32_t *)data)[part]++; }

static void test_team(void) {
  if (fil_team_create(0) || fil_team_create(FIL_MAX_THREADS + 1)) failures++;
  for (uint32_t threads = 1; threads <= 4; threads++) {
    fil_team *team = fil_team_create(threads);
    if (!team) exit(2);
    uint32_t counts[9] = {0}, rounds = 100;
    for (uint32_t i = 0; i < rounds; i++)
      for (uint32_t parts = 1; parts <= 9; parts++) fil_team_run(team, count_part, counts, parts);
    for (uint32_t part = 0; part < 9; part++) failures += counts[part] != rounds * (9 - part);
    fil_team_destroy(team);
  }
}

int main(int argc, char **argv) {
  test_team();
  for (int i = 1; i < argc; i++) test_file(argv[i]);
  return failures != 0;
}
