/* What the kernel tests need from the operating system: guard pages, faults as results, a clock. */
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "support.h"

static sigjmp_buf escape;
static volatile uintptr_t touched;

static void on_fault(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  touched = (uintptr_t)info->si_addr | 1;
  siglongjmp(escape, 1);
}

uintptr_t fil_guarded(void (*kernel)(const void *), const void *args) {
  struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, segv, bus;
  touched = 0;
  sigaction(SIGSEGV, &ours, &segv);
  sigaction(SIGBUS, &ours, &bus);
  if (!sigsetjmp(escape, 1)) kernel(args);
  sigaction(SIGSEGV, &segv, 0);
  sigaction(SIGBUS, &bus, 0);
  return touched;
}

static size_t pages(size_t bytes, size_t page) { return (bytes + page - 1) / page * page; }

void *fil_guard(size_t bytes, int flush_with_end) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = pages(bytes, page);
  unsigned char *all = mmap(0, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) return 0;
  if (mprotect(all + page, inner, PROT_READ | PROT_WRITE)) return 0;
  return all + page + (flush_with_end ? inner - bytes : 0);
}

void fil_unguard(void *memory, size_t bytes) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  uintptr_t start = (uintptr_t)memory / page * page - page;
  munmap((void *)start, pages(bytes, page) + 2 * page);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void fil_time(void (*kernel)(const void *), const void *args, double least, int samples,
              double *seconds) {
  double start = now();
  kernel(args);
  int calls = 1 + (int)(least / (now() - start + 1e-9));
  for (int i = 0; i < samples; i++) {
    start = now();
    for (int k = 0; k < calls; k++) kernel(args);
    seconds[i] = (now() - start) / calls;
  }
}
