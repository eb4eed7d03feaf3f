#define _POSIX_C_SOURCE 200809L
#include "hosted/team.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { SPINS = 4000, LINE = 64 };

/* A number that one thread changes and another waits for. */
typedef struct bell {
  _Alignas(LINE) _Atomic uint32_t value;
  _Atomic int asleep;
  pthread_mutex_t lock;
  pthread_cond_t rung;
} bell;

/* A thread of the team. The caller asks for turn after turn; each is claimed once, by the member
 * or, if that is not awake by then, by the caller itself. */
typedef struct member {
  bell call, done;
  _Atomic uint32_t claimed; /* the last turn that was */
  fil_team *team;
  pthread_t thread;
  uint32_t index, turn; /* turn: the caller's */
} member;

struct fil_team {
  void (*task)(void *data, uint32_t part); /* NULL: the end */
  void *data;
  uint32_t parts, threads;
  int spins;
  member *members; /* threads - 1, from index 1 on */
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb"); /* yield is nothing at all on most */
#endif
}

static void bell_create(bell *b) {
  atomic_init(&b->value, 0);
  atomic_init(&b->asleep, 0);
  pthread_mutex_init(&b->lock, NULL);
  pthread_cond_init(&b->rung, NULL);
}

static void bell_destroy(bell *b) {
  pthread_mutex_destroy(&b->lock);
  pthread_cond_destroy(&b->rung);
}

/* Either the sleeper sees the new value before it sleeps, or the ringer sees that it is asleep:
 * value and asleep are sequentially consistent. */
static void bell_ring(bell *b, uint32_t value) {
  atomic_store(&b->value, value);
  if (!atomic_load(&b->asleep)) return;
  pthread_mutex_lock(&b->lock);
  pthread_cond_signal(&b->rung);
  pthread_mutex_unlock(&b->lock);
}

static uint32_t bell_read(bell *b) { return atomic_load_explicit(&b->value, memory_order_acquire); }

/* Until the value is another than `old`: what it is then. */
static uint32_t bell_wait(bell *b, uint32_t old, int spins) {
  for (int i = 0; i < spins; i++, relax())
    if (bell_read(b) != old) return bell_read(b);
  pthread_mutex_lock(&b->lock);
  atomic_store(&b->asleep, 1);
  while (atomic_load(&b->value) == old) pthread_cond_wait(&b->rung, &b->lock);
  atomic_store(&b->asleep, 0);
  pthread_mutex_unlock(&b->lock);
  return bell_read(b);
}

/* Whether a turn is the claimer's now. */
static int claim(member *m, uint32_t turn) {
  uint32_t last = turn - 1;
  return atomic_compare_exchange_strong(&m->claimed, &last, turn);
}

/* Parts are dealt out like cards. */
static void run_parts(const fil_team *team, uint32_t index) {
  for (uint32_t part = index; part < team->parts; part += team->threads)
    team->task(team->data, part);
}

static void *member_main(void *self) {
  member *m = self;
  for (uint32_t turn = 0;;) {
    turn = bell_wait(&m->call, turn, m->team->spins);
    if (!claim(m, turn)) continue;
    if (!m->team->task) return NULL;
    run_parts(m->team, m->index);
    bell_ring(&m->done, turn);
  }
}

/* Start a thread that takes no signals: those are for the program's own threads. */
static int member_start(member *m) {
  sigset_t all, before;
  sigfillset(&all);
  bell_create(&m->call);
  bell_create(&m->done);
  atomic_init(&m->claimed, 0);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failed = pthread_create(&m->thread, NULL, member_main, m);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed) {
    bell_destroy(&m->call);
    bell_destroy(&m->done);
  }
  return !failed;
}

fil_team *fil_team_create(uint32_t threads) {
  if (!threads || threads > FIL_MAX_THREADS) return NULL;
  fil_team *team = calloc(1, sizeof *team);
  member *members = aligned_alloc(LINE, threads * sizeof *members);
  if (!team || !members) {
    free(team);
    free(members);
    return NULL;
  }
  team->members = members;
  team->spins = (long)threads <= sysconf(_SC_NPROCESSORS_ONLN) ? SPINS : 0;
  for (team->threads = 1; team->threads < threads; team->threads++) {
    member *m = &members[team->threads - 1];
    m->team = team, m->index = team->threads, m->turn = 0;
    if (member_start(m)) continue;
    fil_team_destroy(team);
    return NULL;
  }
  return team;
}

/* The caller has done its own parts: do the member's, or wait for it to. */
static void member_finish(member *m) {
  if (claim(m, m->turn)) {
    run_parts(m->team, m->index);
    return;
  }
  for (uint32_t done; (done = bell_read(&m->done)) != m->turn;)
    bell_wait(&m->done, done, m->team->spins);
}

void fil_team_run(void *self, void (*task)(void *data, uint32_t part), void *data, uint32_t parts) {
  fil_team *team = self;
  uint32_t helpers = (parts < team->threads ? parts : team->threads) - 1;
  team->task = task, team->data = data, team->parts = parts;
  for (uint32_t i = 0; i < helpers; i++) bell_ring(&team->members[i].call, ++team->members[i].turn);
  run_parts(team, 0);
  for (uint32_t i = 0; i < helpers; i++) member_finish(&team->members[i]);
}

void fil_team_destroy(fil_team *team) {
  if (!team) return;
  team->task = NULL;
  for (uint32_t i = 0; i < team->threads - 1; i++) {
    member *m = &team->members[i];
    bell_ring(&m->call, ++m->turn);
    pthread_join(m->thread, NULL);
    bell_destroy(&m->call);
    bell_destroy(&m->done);
  }
  free(team->members);
  free(team);
}
