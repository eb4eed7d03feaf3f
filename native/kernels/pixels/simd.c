#define FIL_IN_F32 1
#include "kernels/kernels.h"
#include "simd/simd.h"

enum { LINE = 64, MOST = 4 }; /* positions and channels at a time */

typedef float line[LINE];

/* n pixels of `channels` channels and nothing else. Compiled for constant numbers of them: the
 * strides become shuffles. */
FIL_INLINE void split(const fil_pixels_args *a, line *to, uint32_t done, size_t from, uint32_t n,
                      uint32_t channels) {
  if (a->bytes)
    for (uint32_t j = 0; j < n; j++)
      for (uint32_t c = 0; c < channels; c++)
        to[c][done + j] = (float)a->bytes[from + j * channels + c];
  else
    for (uint32_t j = 0; j < n; j++)
      for (uint32_t c = 0; c < channels; c++) to[c][done + j] = a->floats[from + j * channels + c];
}

static void gather(const fil_pixels_args *a, float *to, size_t from, uint32_t n) {
  size_t step = a->g->xs;
  if (a->bytes)
    for (uint32_t j = 0; j < n; j++) to[j] = (float)a->bytes[from + j * step];
  else
    for (uint32_t j = 0; j < n; j++) to[j] = a->floats[from + j * step];
}

/* n elements of one row, of `channels` channels, to lines from `done` on. */
static void fill_run(const fil_pixels_args *a, line *to, uint32_t done, size_t from, uint32_t n,
                     uint32_t channels) {
  const fil_conv *g = a->g;
  int woven = g->cs == 1 && g->xs == channels;
  if (woven && channels == 3) split(a, to, done, from, n, 3);
  else if (woven && channels == 4) split(a, to, done, from, n, 4);
  else
    for (uint32_t c = 0; c < channels; c++) gather(a, to[c] + done, from + (size_t)c * g->cs, n);
}

static void fill(const fil_pixels_args *a, line *to, uint32_t position, uint32_t n,
                 uint32_t channel, uint32_t channels) {
  const fil_conv *g = a->g;
  int flat = g->ys == g->in_w * g->xs;
  for (uint32_t done = 0, run; done < n; done += run) {
    uint32_t y = (position + done) / g->in_w, x = (position + done) % g->in_w;
    run = !flat && n - done > g->in_w - x ? g->in_w - x : n - done;
    size_t from = (size_t)channel * g->cs + (size_t)y * g->ys + (size_t)x * g->xs;
    fill_run(a, to, done, from, run, channels);
  }
}

void FIL_KERNEL(pixels)(const fil_pixels_args *a) {
  line lines[MOST] = {{0}};
  for (uint32_t c = 0, channels; c < a->g->channels; c += channels) {
    channels = a->g->channels - c < MOST ? a->g->channels - c : MOST;
    for (uint32_t at = 0, n; at < a->positions; at += n) {
      n = a->positions - at < LINE ? a->positions - at : LINE;
      fill(a, lines, a->first + at, n, c, channels);
      for (uint32_t k = 0; k < channels; k++) {
        vf scale = v_set1(a->scale[c + k]), shift = v_set1(a->shift[c + k]);
        fx *out = a->out + (size_t)(c + k) * a->out_pitch + at;
        for (uint32_t j = 0; j < n; j += VL)
          v_store(out + j, v_fma(v_load_f32(lines[k] + j), scale, shift));
      }
    }
  }
}
