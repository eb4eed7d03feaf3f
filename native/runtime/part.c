#include "runtime/part.h"
#include "kernels/nibbles.h"
#include "kernels/q8.h"

fil_span fil_share(fil_part p, uint32_t n, uint32_t unit) {
  uint32_t units = n / unit + !!(n % unit), each = units / p.count, more = units % p.count;
  uint32_t first = (p.index * each + (p.index < more ? p.index : more)) * unit;
  uint32_t end = first + (each + (p.index < more)) * unit;
  return (fil_span){first < n ? first : n, end < n ? end : n};
}

static uint32_t blocks_before(const fil_matrix *w, uint32_t group) {
  if (w->coding == FIL_CODING_NONE) return group * w->cols;
  uint32_t blocks = 0;
  for (uint32_t g = 0; g < group; g++) blocks += w->count[g];
  return blocks;
}

fil_span fil_share_groups(const fil_matrix *w, fil_part p) {
  if (w->coding == FIL_CODING_NONE || p.count == 1) return fil_share(p, w->groups, 1);
  /* a group's own cost, its bias and its store, counts as one block */
  uint64_t total = blocks_before(w, w->groups) + w->groups;
  uint64_t from = total * p.index, to = from + total, passed = 0; /* all times p.count */
  fil_span s = {w->groups, w->groups};
  for (uint32_t g = 0; g < w->groups; g++) {
    if (passed >= from && s.first == w->groups) s.first = g;
    if (passed >= to) {
      s.end = g;
      break;
    }
    passed += (w->count[g] + (uint64_t)1) * p.count;
  }
  return s;
}

/* Quads of int8 weights in front of a group. */
static size_t quads_before(const fil_matrix *w, uint32_t group) {
  if (w->coding == FIL_CODING_NONE) return (size_t)group * fil_quads(w->cols);
  size_t quads = 0;
  for (uint32_t g = 0; g < group; g++) quads += fil_quads(w->count[g]);
  return quads;
}

/* Step over the int4 weights in front of a group. */
static void pass_nibbles(fil_matrix *w, uint32_t group) {
  for (uint32_t g = 0; g < group; g++) {
    uint32_t blocks = w->coding == FIL_CODING_NONE ? w->cols : w->count[g];
    w->nibbles += fil_nibble_bytes(blocks, w->block_rows);
    w->scales += (size_t)fil_nibble_runs(blocks) * w->block_rows;
  }
}

static void keep_values(fil_matrix *w, uint32_t group) {
  size_t row = (size_t)group * w->block_rows, block = blocks_before(w, group);
  if (w->quads) {
    w->quads += quads_before(w, group) * w->block_rows * FIL_QUAD;
    w->sums += row, w->multipliers += row;
    return;
  }
  if (w->nibbles) pass_nibbles(w, group);
  else if (w->halves) w->halves += block * w->block_rows;
  else w->values += block * w->block_rows;
  w->bias += row;
}

void fil_keep_groups(fil_matrix *w, fil_span groups) {
  uint32_t blocks = blocks_before(w, groups.first);
  uint32_t row = groups.first * w->block_rows, left = w->rows - row;
  uint32_t rows = (groups.end - groups.first) * w->block_rows;
  keep_values(w, groups.first);
  w->rows = rows < left ? rows : left;
  w->groups = groups.end - groups.first;
  if (w->coding == FIL_CODING_NONE) return;
  w->index =
      (const uint8_t *)w->index + (size_t)blocks * w->coding; /* bytes of an index: D8 1, U16 2 */
  w->count += groups.first;
}

int fil_is_by_groups(fil_part p, uint32_t units, uint32_t groups) {
  return units / FIL_PART_EVEN < p.count && groups > units;
}
