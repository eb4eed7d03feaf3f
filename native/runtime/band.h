/* Bands: operations that run together, some rows at a time. */
#ifndef FIL_BAND_H
#define FIL_BAND_H
#include "runtime/context.h"

/* Where a band's operations stand: operation k makes output rows [from[k], to[k]) in this step,
 * none if from is not below to, and never one below least[k]. */
typedef struct fil_band {
  const fil_op *ops;
  uint32_t count;
  uint32_t from[FIL_MAX_BAND], to[FIL_MAX_BAND], least[FIL_MAX_BAND];
} fil_band;

/* How many operations run together from this one on: 1 if it is alone. */
uint32_t fil_band_ops(const fil_op *op);

/* The first operation of the band that operation i belongs to: i itself if it belongs to none. */
uint32_t fil_band_first(const fil_op *ops, uint32_t i);

/* What operation i says of bands and rings: of a band's first, that the others follow; rings only
 * inside a band, ending where a vector does. Operations before i have been seen to be right. */
int fil_band_ok(const fil_model *m, uint32_t i);

fil_band fil_band_start(const fil_op *ops, uint32_t count);

/* The next step: the last operation makes band_rows more rows and the others what that takes, in
 * whole vectors of `lanes`; in the last step all of them end. */
void fil_band_next(fil_band *b, uint32_t lanes);
int fil_band_done(const fil_band *b);

/* A band in parts: each makes some rows of the last operation's, those of some steps of the whole
 * band's, and has tensors of its own for all that live in the band alone. Rows that both sides of a
 * seam read are made on both. */

/* Whether it can be: what operations before the last write lives in the band alone. */
int fil_band_divides(const fil_model *m, uint32_t first);
uint32_t fil_band_steps(const fil_model *m, uint32_t first);

/* The band for one who makes the rows after the first `steps` steps and none that those do not
 * need. It still takes all the steps: what they would make before is left out. */
fil_band fil_band_after(const fil_model *m, uint32_t first, uint32_t steps);

/* Bytes of the tensors that a part has of its own: those that operations before the band's `end`th
 * write. */
uint64_t fil_band_bytes(const fil_model *m, uint32_t first, uint32_t end);
#endif
