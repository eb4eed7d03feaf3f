/* Inner loops of int8 for cores with few registers (FIL_SMALL). Inputs are bytes 128 higher, as
 * these cores load a byte without a sign in one instruction. */
#ifndef FIL_SMALL_H
#define FIL_SMALL_H
#include <stddef.h>
#include "simd/inline.h"

/* Words may be read from any address. */
#if defined __ARM_FEATURE_UNALIGNED || !defined __arm__
#define FIL_SMALL_UNALIGNED 1
#else
#define FIL_SMALL_UNALIGNED 0
#endif

/* Four sums, from start on: weight * x[place + j]. Taps have the weight in the low half, the place
 * in the high one. */
typedef struct small_taps {
  const uint8_t *x;
  const uint32_t *tap, *end;
  int32_t start, sum[4];
} small_taps;

/* Four sums, from start on: weight * (byte j of x - 128), x of each column up to the end, quads of
 * weights `step` bytes apart. */
typedef struct small_quads {
  const int8_t *w;
  const uint32_t *x, *end;
  size_t step;
  int32_t start, sum[4];
} small_quads;

#if FIL_THUMB1
/* r7: one input; into a sum. */
#define ONE(sum, x, at, w) "ldrb r7, [" x ", #" at "]\n muls r7, " w ", r7\n adds " sum ", r7\n"

/* r0-r3: sums; r4: tap; r5: weight; r6: its inputs; r12: x; lr: end. */
__attribute__((naked, noinline, unused)) static void sum_taps(small_taps *s) {
  __asm__("push {r4-r7, lr}\n ldm r0!, {r1-r4}\n push {r0}\n mov r12, r1\n mov lr, r3\n"
          "mov r7, r2\n movs r0, r4\n movs r1, r4\n movs r2, r4\n movs r3, r4\n mov r4, r7\n"
          "1: ldm r4!, {r5}\n lsrs r6, r5, #16\n add r6, r12\n sxth r5, r5\n" ONE(
              "r0", "r6", "0", "r5") ONE("r1", "r6", "1", "r5") ONE("r2", "r6", "2", "r5")
              ONE("r3", "r6", "3",
                  "r5") "cmp r4, lr\n bne 1b\n pop {r4}\n stm r4!, {r0-r3}\n pop {r4-r7, pc}");
}

#define COLUMN(w, a, b, c, d)                                                                      \
  "ldrb r6, [r4, #" w "]\n sxtb r6, r6\n add r12, r6\n" ONE("r0", "r5", a, "r6")                   \
      ONE("r1", "r5", b, "r6") ONE("r2", "r5", c, "r6") ONE("r3", "r5", d, "r6")

/* r0-r3: sums; r4: weights; r5: x; r6: weight; r8: step; r12: all weights; lr: end. */
__attribute__((naked, noinline, unused)) static void sum_quads(small_quads *s) {
  __asm__("push {r4-r7, lr}\n mov r4, r8\n push {r4}\n ldm r0!, {r1-r5}\n push {r0, r5}\n"
          "mov lr, r3\n mov r8, r4\n mov r4, r1\n mov r5, r2\n"
          "movs r0, #0\n movs r1, #0\n movs r2, #0\n movs r3, #0\n mov r12, r0\n"
          "cmp r5, lr\n beq 2f\n1: " COLUMN("0", "0", "1", "2", "3") COLUMN("1", "4", "5", "6", "7")
              COLUMN("2", "8", "9", "10", "11") COLUMN(
                  "3", "12", "13", "14",
                  "15") "adds r5, #16\n add r4, r8\n cmp r5, lr\n bne 1b\n"
                        "2: pop {r4, r5}\n mov r6, r12\n lsls r6, r6, #7\n subs r5, r5, r6\n"
                        "adds r0, r5\n adds r1, r5\n adds r2, r5\n adds r3, r5\n stm r4!, {r0-r3}\n"
                        "pop {r4}\n mov r8, r4\n pop {r4-r7, pc}");
}
#undef ONE
#undef COLUMN
#else
static __attribute__((noinline, unused)) void sum_taps(small_taps *s) {
  int32_t sum[4] = {s->start, s->start, s->start, s->start};
  FIL_ONE_BY_ONE for (const uint32_t *tap = s->tap; tap < s->end; tap++) {
    const uint8_t *at = s->x + (*tap >> 16);
    int32_t w = (int16_t)*tap;
    FIL_UNROLL(j, 4) sum[j] += w * at[j];
  }
  FIL_UNROLL(j, 4) s->sum[j] = sum[j];
}

static __attribute__((noinline, unused)) void sum_quads(small_quads *s) {
  int32_t sum[4] = {0}, all = 0;
  const int8_t *w = s->w;
  FIL_ONE_BY_ONE for (const uint32_t *x = s->x; x < s->end; x += 4, w += s->step) FIL_UNROLL(k, 4) {
    const uint8_t *at = (const uint8_t *)(x + k);
    FIL_UNROLL(j, 4) sum[j] += w[k] * at[j];
    all += w[k];
  }
  FIL_UNROLL(j, 4) s->sum[j] = sum[j] + s->start - 128 * all;
}
#endif
#endif
