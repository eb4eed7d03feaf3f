/* Threads for wasm.c: instances of one module in workers of the host's, over one imported, shared
 * memory. After fil_w_open, the first instance calls
 *
 *   fil_w_threads(n)   FIL_OK, or FIL_E_ARENA: no memory; from then on fil_w_run waits for n - 1
 *                      workers, so not on a browser's main thread, which may not wait
 *   fil_w_stack(i)     where worker i's stack ends: the __stack_pointer that its instance needs
 *                      before anything else is called there
 *   fil_w_end()        makes every fil_w_work return
 *
 * and worker i, from 1 to n - 1, calls in its own instance
 *
 *   fil_w_work(i)      which runs parts until the end
 */
#include "runner/wasm.h"
#include <stdatomic.h>

enum { MOST = 64, STACK = 1 << 16, SPINS = 4000, FOREVER = -1 };

/* A number that one thread changes and another waits for. */
typedef struct bell {
  _Alignas(64) _Atomic int value;
} bell;

static bell calls[MOST], dones[MOST], claims[MOST];
static int turns[MOST];
static unsigned char *stacks;
static fil_parallel team;

static struct {
  void (*task)(void *data, uint32_t part); /* 0: the end */
  void *data;
} job;

static void bell_ring(bell *b, int value) {
  atomic_store(&b->value, value);
  __builtin_wasm_memory_atomic_notify((int *)&b->value, 1);
}

/* A function of its own, in which nothing lives on after the wait: the baseline compiler of node 20
 * (V8 11.3) gives the wait's result the register of a local that still does. */
static __attribute__((noinline)) void bell_doze(bell *b, int old) {
  __builtin_wasm_memory_atomic_wait32((int *)&b->value, old, FOREVER);
}

/* Until the value is another than `old`: what it is then. */
static int bell_wait(bell *b, int old) {
  for (int i = 0; i < SPINS; i++)
    if (atomic_load(&b->value) != old) return atomic_load(&b->value);
  while (atomic_load(&b->value) == old) bell_doze(b, old);
  return atomic_load(&b->value);
}

/* Whether a worker's turn is the claimer's now: the worker's own or, if that is not awake by then,
 * the caller's. */
static int claim(uint32_t worker, int turn) {
  int last = turn - 1;
  return atomic_compare_exchange_strong(&claims[worker].value, &last, turn);
}

/* The caller has done its own part: do the worker's, or wait for it to. */
static void finish(uint32_t worker) {
  if (claim(worker, turns[worker])) {
    job.task(job.data, worker);
    return;
  }
  for (int done; (done = atomic_load(&dones[worker].value)) != turns[worker];)
    bell_wait(&dones[worker], done);
}

static void team_run(void *self, void (*task)(void *data, uint32_t part), void *data,
                     uint32_t parts) {
  (void)self;
  job.task = task, job.data = data;
  for (uint32_t i = 1; i < parts; i++) bell_ring(&calls[i], ++turns[i]);
  task(data, 0);
  for (uint32_t i = 1; i < parts; i++) finish(i);
}

int32_t EXPORT(fil_w_threads)(uint32_t threads) {
  if (!threads || threads > MOST) return FIL_E_UNSUPPORTED;
  team = (fil_parallel){.run = team_run, .threads = threads};
  team.scratch_bytes = fil_parallel_scratch(fil_w_opened());
  uint64_t scratch = (threads - 1) * team.scratch_bytes,
           all = scratch + (threads - 1) * (uint64_t)STACK;
  team.scratch = all > UINT32_MAX ? 0 : fil_w_alloc((uint32_t)all);
  if (!team.scratch) return FIL_E_ARENA;
  stacks = (unsigned char *)team.scratch + scratch;
  fil_w_use(&team);
  return FIL_OK;
}

void *EXPORT(fil_w_stack)(uint32_t worker) { return stacks + worker * (size_t)STACK; }

void EXPORT(fil_w_work)(uint32_t worker) {
  for (int turn = 0;;) {
    turn = bell_wait(&calls[worker], turn);
    if (!claim(worker, turn)) continue;
    if (!job.task) return;
    job.task(job.data, worker);
    bell_ring(&dones[worker], turn);
  }
}

void EXPORT(fil_w_end)(void) {
  job.task = 0;
  for (uint32_t i = 1; i < team.threads; i++) bell_ring(&calls[i], ++turns[i]);
}
