/* Depthwise convolution of planes that fit a vector, stride 1, as large as their input: what a tap
 * reads is the plane itself, shifted; a mask for each tap leaves out what lies outside.
 */
#ifndef FIL_DWCONV_FLAT_H
#define FIL_DWCONV_FLAT_H

typedef struct flat {
  vm inside[DIRECT_TAPS * DIRECT_TAPS], keep;
  int64_t shift[DIRECT_TAPS * DIRECT_TAPS]; /* elements from an output's place to its tap's */
} flat;

static int is_flat(const fil_dwconv_args *a) {
  const fil_conv *g = a->g;
  return g->sw == 1 && g->out_w == g->in_w && g->out_h == g->in_h && g->in_w * g->in_h <= VL &&
         a->ring == g->in_h && a->rows == g->out_h;
}

static flat flat_of(const fil_conv *g) {
  flat f = {.keep = v_first(g->in_w * g->in_h)};
  for (uint32_t k = 0; k < (uint32_t)g->kh * g->kw; k++) {
    int64_t dy = (int64_t)(k / g->kw) - g->pad_top, dx = (int64_t)(k % g->kw) - g->pad_left;
    f.shift[k] = dy * g->in_w + dx;
    for (uint32_t p = 0; p < g->in_h * g->in_w; p++) {
      int64_t y = p / g->in_w + dy, x = p % g->in_w + dx;
      if (y >= 0 && y < g->in_h && x >= 0 && x < g->in_w) f.inside[k] |= (vm)(1u << p);
    }
  }
  return f;
}

FIL_INLINE void flat_plane(const band *b, const flat *f, const uint32_t taps) {
  vf sum = v_set1(b->bias);
  FIL_UNROLL(k, taps) {
    sum = v_fma(v_load_m(b->x + f->shift[k], f->inside[k]), v_set1(b->w[k]), sum);
  }
  v_store_m(b->out, v_clamp(sum, b->bounds), f->keep);
}

static void run_flat(const fil_dwconv_args *a, band *b) {
  flat f = flat_of(a->g);
  for (uint32_t r = 0; r < a->w.rows; r++) {
    enter_plane(a, b, r);
    if (a->g->kw == 3) flat_plane(b, &f, 9);
    else flat_plane(b, &f, 25);
    if (b->bounds.late) finish_late(a, b, r, 0, a->g->out_h);
  }
}
#endif
