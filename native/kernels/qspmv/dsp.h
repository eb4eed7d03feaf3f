/* qspmv on Cortex-M: a quad's inputs are widened once for all rows of a group. */
#include "kernels/qspmm/columns.h"
#include "simd/dsp.h"

void FIL_KERNEL(qspmv)(const fil_qspmv_args *a) {
  const fil_matrix *w = &a->w;
  const fil_qspmm_args as_planes = {.w = *w, .x = a->x, .x_pitch = 1}; /* of one position */
  group g = first_group(w);
  uint32_t O = w->block_rows;
  for (uint32_t i = 0; i < w->groups; i++) {
    enter_group(w, &g, i);
    columns c = columns_of(&as_planes, &g);
    const int8_t *at = g.quads;
    for (uint32_t k = 0; k < g.blocks; k += FIL_QUAD) {
      const int8_t *x[FIL_QUAD];
      next_quad(&c, g.blocks - k, (fil_coding)w->coding, x);
      uint32_t even = dsp_low((uint32_t)*x[0], (uint32_t)*x[2]);
      uint32_t odd = dsp_low((uint32_t)*x[1], (uint32_t)*x[3]);
      for (uint32_t r = 0; r < O; r++, at += FIL_QUAD) {
        uint32_t four = dsp_word(at);
        g.start[r] = dsp_mac(dsp_mac(g.start[r], even, dsp_even(four)), odd, dsp_odd(four));
      }
    }
    for (uint32_t r = 0; r < O && g.row + r < w->rows; r++)
      a->out[g.row + r] = fil_requantized(g.start[r], w->multipliers[g.row + r],
                                          a->residual ? a->residual + g.row + r : 0, &a->q);
    leave_group(w, &g);
  }
}
