/* Sums of float16 lose what is small against them: after every RUN blocks they are added to sums of
 * float32, and begin anew. A group of no more than RUN blocks needs none. */
#ifndef FIL_SPMM_LONG_H
#define FIL_SPMM_LONG_H

enum { RUN = 64 };

/* Out of the tile: its addresses would take the registers of those that count. */
__attribute__((noinline)) static void spill(vs *to, const vf *held, uint32_t n, int is_first) {
  for (uint32_t i = 0; i < n; i++) to[i] = s_add(is_first ? s_zero() : to[i], held[i]);
}

FIL_INLINE void sum_all(const tile *t, const pass *p, sums *sum, const uint32_t R, const uint32_t V,
                        const int tail, const fil_coding coding) {
  uintptr_t x = before_first(t, coding);
  pass run = *p;
  vs all[MAX_R * MAX_V];
  for (uint32_t left = p->blocks; left > RUN; left -= RUN) {
    run.blocks = RUN;
    x = sum_blocks(t, &run, x, sum, R, V, tail, coding);
    vf held[MAX_R * MAX_V];
    FIL_UNROLL(r, R)
      FIL_UNROLL(j, V) held[r * V + j] = sum->whole[r][j], sum->whole[r][j] = v_zero();
    spill(all, held, R * V, left == p->blocks);
    run.values += (size_t)RUN * t->a->w.block_rows;
    run.index += (size_t)RUN * coding;
  }
  run.blocks = p->blocks ? (p->blocks - 1) % RUN + 1 : 0;
  sum_blocks(t, &run, x, sum, R, V, tail, coding);
  if (p->blocks <= RUN) return;
  FIL_UNROLL(r, R)
    FIL_UNROLL(j, V) sum->whole[r][j] = s_narrow(s_add(all[r * V + j], sum->whole[r][j]));
}
#endif
