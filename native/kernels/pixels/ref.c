#include "kernels/ref.h"

void fil_pixels_scalar(const fil_pixels_args *a) {
  const fil_conv *g = a->g;
  for (uint32_t c = 0; c < g->channels; c++)
    for (uint32_t j = 0; j < a->positions; j++) {
      uint32_t y = (a->first + j) / g->in_w, x = (a->first + j) % g->in_w;
      size_t i = (size_t)c * g->cs + (size_t)y * g->ys + (size_t)x * g->xs;
      float value = a->bytes ? (float)a->bytes[i] : a->floats[i];
      a->out[(size_t)c * a->out_pitch + j] = value * a->scale[c] + a->shift[c];
    }
}

#define FIL_TABLE pixels
#include "kernels/table.h"
