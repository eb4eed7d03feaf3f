#if !FIL_TARGET_NEON_FP16
#include "kernels/nibbles.h"
#include "kernels/spmm/step.h"
#include "simd/nibbles.h"

void FIL_KERNEL(spmm)(const fil_spmm_args *a);

/* Each weight serves every position: unpacked once, on the stack, ROOM at a time, it is multiplied
 * as the float32 that it stands for. STRIP: positions of a group that is unpacked in pieces. */
enum { ROOM = FIL_WIDE, STRIP = 64, MAX_O = 16 };

/* now: the groups at hand, in float32; group, nibbles, scales: what comes behind them. */
typedef struct unpacked {
  fil_spmm_args now;
  const fil_matrix *all;
  const uint8_t *nibbles;
  const uint16_t *scales;
  uint32_t group;
  float *to;
} unpacked;

/* Unpack the next blocks of a group, and zeros up to a whole unit. */
static void unpack(unpacked *u, float *to, uint32_t blocks) {
  const uint32_t O = u->all->block_rows;
  const uint8_t *nibbles = u->nibbles;
  vf scales[FOUR_BITS], w[FOUR_BITS];
  for (uint32_t left = blocks, run; left; left -= run, u->scales += O) {
    run = left < FIL_RUN ? left : FIL_RUN;
    v_scales(u->scales, O, scales);
    for (uint32_t i = 0; i < run * O; i += FIL_UNIT, nibbles += FIL_UNIT / 2) {
      v_nibbles(nibbles, w);
      FIL_UNROLL(j, FOUR_BITS) v_store_f32(to + i + j * VL, v_mul(w[j], scales[j]));
    }
    to += run * O;
  }
  u->nibbles = nibbles;
}

/* Enter the groups [u->group, end). */
static void take(unpacked *u, uint32_t end) {
  fil_matrix *w = &u->now.w;
  uint32_t O = w->block_rows, left = u->all->rows - u->group * O;
  w->groups = end - u->group;
  w->rows = left < w->groups * O ? left : w->groups * O;
  u->group = end;
}

/* Multiply by as many of the next groups as there is room for: 0 if not for one. */
static int some_groups(unpacked *u) {
  uint32_t O = u->all->block_rows, end = u->group, blocks = 0;
  for (; end < u->all->groups; end++) {
    uint32_t more = blocks_of(u->all, end);
    if ((blocks + more) * O > ROOM) break;
    unpack(u, u->to + (size_t)blocks * O, more);
    blocks += more;
  }
  if (end == u->group) return 0;
  take(u, end);
  FIL_KERNEL(spmm)(&u->now);
  step_over(&u->now, blocks);
  return 1;
}

/* out = act(out + W x), strip by strip. */
static void add_piece(const fil_spmm_args *piece, float *out) {
  float sums[MAX_O * STRIP];
  fil_spmm_args a = *piece;
  a.out = sums, a.out_pitch = STRIP, a.e.residual_pitch = piece->out_pitch;
  for (uint32_t p = 0; p < piece->positions; p += STRIP) {
    a.x = piece->x + p, a.e.residual = out + p;
    a.positions = piece->positions - p < STRIP ? piece->positions - p : STRIP;
    FIL_KERNEL(spmm)(&a);
    for (uint32_t r = 0; r < a.w.rows; r++)
      for (uint32_t i = 0; i < a.positions; i++)
        out[(size_t)r * piece->out_pitch + p + i] = sums[r * STRIP + i];
  }
}

/* What the index list of a piece moves x by. */
static size_t columns_passed(const fil_matrix *w, uint32_t blocks) {
  size_t columns = 0;
  if (w->coding == FIL_CODING_NONE) return blocks;
  if (w->coding == FIL_CODING_D8)
    for (uint32_t i = 0; i < blocks; i++) columns += ((const uint8_t *)w->index)[i];
  return columns;
}

/* The next group, of which there is only room for a piece at a time. */
static void one_group(unpacked *u) {
  static const float none[MAX_O];
  uint32_t O = u->all->block_rows, blocks = blocks_of(u->all, u->group);
  take(u, u->group + 1);
  fil_spmm_args piece = u->now;
  uint16_t count;
  piece.w.count = piece.w.count ? &count : 0;
  for (uint32_t left = blocks, n; left; left -= n) {
    n = left < ROOM / O ? left : ROOM / O;
    count = (uint16_t)n;
    if (piece.w.coding == FIL_CODING_NONE) piece.w.cols = n;
    piece.e.act = n < left ? FIL_ACT_NONE : u->now.e.act;
    unpack(u, u->to, n);
    if (left == blocks) FIL_KERNEL(spmm)(&piece);
    else add_piece(&piece, u->now.out);
    piece.x += columns_passed(&piece.w, n) * piece.x_pitch;
    if (piece.w.index) piece.w.index = (const uint8_t *)piece.w.index + n * piece.w.coding;
    piece.w.bias = none;
  }
  step_over(&u->now, blocks);
}

void FIL_KERNEL(spmm4)(const fil_spmm4_args *a) {
  float room[ROOM + FIL_UNIT];
  unpacked u = {
      .now = *a, .all = &a->w, .nibbles = a->w.nibbles, .scales = a->w.scales, .to = room};
  u.now.w.values = room;
  while (u.group < a->w.groups)
    if (!some_groups(&u)) one_group(&u);
}
#endif
