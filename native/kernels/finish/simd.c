#define FIL_IN_F32 1
#include "simd/finish.h"
#include "simd/math.h"

FIL_INLINE vf act_of(vf x, fil_act act, vf lo, vf hi) {
  vf zero = v_zero(), one = v_set1(1.0f);
  switch (act) {
  case FIL_ACT_CLAMP: return v_min(v_max(x, lo), hi);
  case FIL_ACT_HARDSIGMOID: return v_min(v_max(v_fma(x, lo, hi), zero), one);
  case FIL_ACT_HARDSWISH: return v_mul(x, v_min(v_max(v_fma(x, lo, hi), zero), one));
  case FIL_ACT_SIGMOID: return v_sigmoid(x);
  case FIL_ACT_TANH: return v_tanh(x);
  case FIL_ACT_LEAKYRELU: return v_select(v_lt(x, zero), v_mul(x, lo), x);
  case FIL_ACT_SILU: return v_mul(x, v_sigmoid(x));
  case FIL_ACT_EXP: return v_exp(x);
  case FIL_ACT_SQRT: return v_sqrt(x);
  case FIL_ACT_ABS: return v_abs(x);
  case FIL_ACT_NEG: return v_neg(x);
  default: return x;
  }
}

FIL_INLINE void act_row(fx *y, uint32_t n, const fil_epilogue *e, fil_act act) {
  vf lo = v_set1(e->lo), hi = v_set1(e->hi);
  uint32_t i = 0;
  for (; i + VL <= n; i += VL) v_store(y + i, act_of(v_load(y + i), act, lo, hi));
  if (i < n) v_store_n(y + i, act_of(v_load_n(y + i, n - i), act, lo, hi), n - i);
}

static void add_row(fx *y, const fx *residual, uint32_t n) {
  uint32_t i = 0;
#if FIL_TARGET_NEON_FP16 /* rounded once or twice: the same */
  for (; i + 8 <= n; i += 8) vst1q_f16(y + i, vaddq_f16(vld1q_f16(y + i), vld1q_f16(residual + i)));
#endif
  for (; i + VL <= n; i += VL) v_store(y + i, v_add(v_load(y + i), v_load(residual + i)));
  if (i < n) v_store_n(y + i, v_add(v_load_n(y + i, n - i), v_load_n(residual + i, n - i)), n - i);
}

/* One loop per activation: the switch is outside, the constant inside. */
void FIL_KERNEL(finish)(const fil_piece *p, const fil_epilogue *e) {
  for (uint32_t r = 0; r < p->rows; r++) {
    fx *y = p->y + r * p->pitch;
    if (p->residual) add_row(y, p->residual + r * p->residual_pitch, p->n);
    if (e->act == FIL_ACT_NONE) continue;
    switch ((fil_act)e->act) {
#define X(NAME, name)                                                                              \
  case FIL_ACT_##NAME: act_row(y, p->n, e, FIL_ACT_##NAME); break;
#include "filigree/act.def"
#undef X
    case FIL_ACT_COUNT: break;
    }
  }
}
