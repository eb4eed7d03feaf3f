/* A copy from float32 to float16 or back. */
#ifndef FIL_MAP_CONVERT_H
#define FIL_MAP_CONVERT_H

static void narrow(fx *out, const float *x, axis s) {
  uint32_t i = 0;
  if (s.a == 1 && s.out == 1)
    for (; i + VL <= s.n; i += VL)
      v_store(out + i, s_narrow((vs){vld1q_f32(x + i), vld1q_f32(x + i + VL / 2)}));
  for (; i < s.n; i++) out[i * s.out] = (fx)x[i * s.a];
}

static void widen(float *out, const fx *x, axis s) {
  uint32_t i = 0;
  if (s.a == 1 && s.out == 1)
    for (; i + VL <= s.n; i += VL) {
      vs wide = s_add(s_zero(), v_load(x + i));
      vst1q_f32(out + i, wide.low);
      vst1q_f32(out + i + VL / 2, wide.high);
    }
  for (; i < s.n; i++) out[i * s.out] = x[i * s.a];
}

static void convert(const fil_map_args *a, const axis *s) {
  for (uint32_t i = 0; i < s[0].n; i++)
    for (uint32_t j = 0; j < s[1].n; j++)
      for (uint32_t k = 0; k < s[2].n; k++) {
        int64_t from = i * s[0].a + j * s[1].a + k * s[2].a;
        int64_t to = i * s[0].out + j * s[1].out + k * s[2].out;
        const void *x = a->a;
        void *out = a->out;
        if (a->to == FIL_F32) widen((float *)out + to, (const fx *)x + from, s[3]);
        else narrow((fx *)out + to, (const float *)x + from, s[3]);
      }
}
#endif
