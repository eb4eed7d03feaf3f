/* A team of POSIX threads for fil_run_parallel, on systems that have them. The library itself needs
 * none of this.
 *
 *   fil_team *team = fil_team_create(4);
 *   uint64_t bytes = fil_parallel_scratch(&m);
 *   fil_parallel p = {fil_team_run, team, 4, aligned_alloc(FIL_ALIGN, 3 * bytes), bytes};
 *   fil_run_parallel(&m, arena, inputs, outputs, &p, NULL, NULL);
 *   fil_team_destroy(team);
 */
#ifndef FIL_TEAM_H
#define FIL_TEAM_H
#include "filigree/filigree.h"

enum { FIL_MAX_THREADS = 256 };

typedef struct fil_team fil_team;

/* Start threads - 1 threads; the caller of fil_team_run is the other. If there are processors for
 * all, they spin for some tens of microseconds when they have nothing to do, before they sleep;
 * what one has not begun when the caller is done with its own part, the caller does. They take no
 * signals and compute in the floating-point mode of the thread that created them. NULL: no memory,
 * no such number, or the system starts no more threads. */
fil_team *fil_team_create(uint32_t threads);

/* fil_parallel.run; self is the team, parts 1 or more. One caller at a time. */
void fil_team_run(void *self, void (*task)(void *data, uint32_t part), void *data, uint32_t parts);

/* End the threads. Nothing may be running. A team does not survive fork: the child neither uses nor
 * destroys its parent's. */
void fil_team_destroy(fil_team *team);
#endif
