/* What a processor may have beyond the instruction sets of isa.def. */
#ifndef FIL_FEATURES_H
#define FIL_FEATURES_H

/* Dot products of bytes on 512 bits (AVX-512 VNNI); asked once. */
int fil_has_vnni(void);
#endif
