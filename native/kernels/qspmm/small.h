/* qspmm on cores with few registers and no vectors. The inputs of a group's columns (of a dense
 * layer, of all) are gathered at up to SPAN positions, as many as there is room for; then row by
 * row, four positions at a time. */
#include "simd/small.h"

enum { ROOM = 256, FOUR = 4, SPAN = 16 };

/* x: for each four of the n positions the columns', in quads. at: where a four begins, from the
 * first position; the last one lies over those before, so that a sum may lie up to three before the
 * first. */
typedef struct patch {
  const fil_qspmm_args *a;
  const uint8_t *index;
  uint32_t position, n, fours, quads;
  int32_t at[SPAN / FOUR];
  uint32_t x[ROOM];
  int32_t sums[FOUR + SPAN];
} patch;

static void enter_positions(patch *t, uint32_t n) {
  int32_t last = (int32_t)(t->a->positions - t->position) - FOUR;
  t->n = n, t->fours = 0;
  for (int32_t at = 0; at < (int32_t)n; at += FOUR)
    t->at[t->fours++] = at < last || t->a->positions < FOUR ? at : last;
}

/* Where the next columns lie. */
static __attribute__((noinline)) void list(uint32_t *to, uint32_t count, patch *t) {
  const fil_coding coding = (fil_coding)t->a->w.coding;
  uint32_t pitch = t->a->x_pitch, at = 0;
  const uint8_t *index = t->index;
  if (coding == FIL_CODING_NONE)
    FIL_ONE_BY_ONE for (uint32_t i = 0; i < count; i++, at += pitch) to[i] = at;
  else if (coding == FIL_CODING_D8)
    FIL_ONE_BY_ONE for (uint32_t i = 0; i < count; i++) to[i] = at += *index++ * pitch;
  else
    FIL_ONE_BY_ONE for (uint32_t i = 0; i < count; i++, index += 2) to[i] =
        *(const uint16_t *)(const void *)index * pitch;
  t->index = index;
}

static __attribute__((noinline)) void gather_words(uint32_t *to, uint32_t count, const int8_t *x,
                                                   const uint32_t *at) {
  uint32_t four;
  FIL_ONE_BY_ONE for (const uint32_t *end = at + count; at < end; at++) {
    if (!FIL_SMALL_UNALIGNED) four = *(const uint32_t *)__builtin_assume_aligned(x + *at, FOUR);
    else __builtin_memcpy(&four, x + *at, FOUR);
    *to++ = four ^ 0x80808080u;
  }
}

/* Of n positions. */
static __attribute__((noinline)) void gather_bytes(uint32_t *to, uint32_t count, const int8_t *x,
                                                   const uint32_t *at, uint32_t n) {
  FIL_ONE_BY_ONE for (const uint32_t *end = at + count; at < end; at++) {
    const uint8_t *from = (const uint8_t *)x + *at;
    uint32_t four = from[0];
    if (n > 1) four |= (uint32_t)from[1] << 8;
    if (n > 2) four |= (uint32_t)from[2] << 16;
    if (n > 3) four |= (uint32_t)from[3] << 24;
    *to++ = four ^ 0x80808080u;
  }
}

/* The list of places is where the last four will be. */
static void gather(patch *t, uint32_t count) {
  const fil_qspmm_args *a = t->a;
  uint32_t apart = a->positions | a->x_pitch | (uint32_t)(uintptr_t)a->x;
  int words = a->positions >= FOUR && (FIL_SMALL_UNALIGNED || apart % FOUR == 0);
  t->quads = fil_quads(count);
  uint32_t *to = t->x, step = t->quads * FIL_QUAD, *places = to + (t->fours - 1) * step;
  list(places, count, t);
  for (uint32_t s = 0; s < t->fours; s++, to += step) {
    const int8_t *x = a->x + t->position + t->at[s];
    if (words) gather_words(to, count, x, places);
    else gather_bytes(to, count, x, places, a->positions);
    for (uint32_t i = count; i < step; i++) to[i] = 0; /* their weights are 0 */
  }
}

static void one_row(patch *t, const int8_t *w, uint32_t row) {
  const fil_qspmm_args *a = t->a;
  const int8_t *y = a->residual ? a->residual + (size_t)row * a->residual_pitch + t->position : 0;
  fil_factor f = fil_factor_of(a->w.multipliers[row], &a->q);
  small_quads q = {w, 0, t->x, (size_t)a->w.block_rows * FIL_QUAD, a->w.sums[row], {0}};
  for (uint32_t s = 0; s < t->fours; s++) {
    int32_t *to = t->sums + FOUR + t->at[s];
    q.x = q.end, q.end += t->quads * FIL_QUAD;
    sum_quads(&q);
    for (uint32_t j = 0; j < FOUR; j++) to[j] = q.sum[j];
  }
  int8_t *out = a->out + (size_t)row * a->out_pitch + t->position;
  fil_row_requantized(out, t->sums + FOUR, t->n, &f, y, &a->q);
}

static void all_rows(patch *t) {
  const fil_matrix *w = &t->a->w;
  const int8_t *quads = w->quads;
  t->index = w->index;
  if (w->coding == FIL_CODING_NONE) gather(t, w->cols);
  for (uint32_t g = 0, row = 0; g < w->groups; g++) {
    if (w->coding != FIL_CODING_NONE) gather(t, w->count[g]);
    uint32_t rows = fil_group_rows(w, g);
    for (uint32_t r = 0; r < rows; r++, row++) one_row(t, quads + r * FIL_QUAD, row);
    quads += (size_t)t->quads * w->block_rows * FIL_QUAD;
  }
}

/* Columns of the group that has most. */
static uint32_t most_columns(const fil_matrix *w) {
  uint32_t most = w->coding == FIL_CODING_NONE ? w->cols : 1;
  for (uint32_t g = 0; w->coding != FIL_CODING_NONE && g < w->groups; g++)
    if (w->count[g] > most) most = w->count[g];
  return most;
}

/* 0: there is no room for a group's columns. */
static int run_small(const fil_qspmm_args *a) {
  uint32_t most = fil_quads(most_columns(&a->w)) * FIL_QUAD, step = SPAN;
  while (step && step / FOUR * most > ROOM) step -= FOUR;
  if (!step) return 0;
  patch t; /* not cleared: it is large */
  t.a = a;
  for (t.position = 0; t.position < a->positions; t.position += step) {
    enter_positions(&t, a->positions - t.position < step ? a->positions - t.position : step);
    all_rows(&t);
  }
  return 1;
}
