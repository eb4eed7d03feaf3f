/* To be included last of all headers: the functions from here on may use AVX-512 VNNI, which not
 * every processor with AVX-512 has (runtime/features.h). FIL_VNNI_END ends that. */
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512vnni"))), apply_to = function)
#define FIL_VNNI_END _Pragma("clang attribute pop")
#else
#pragma GCC push_options
#pragma GCC target("avx512vnni")
#define FIL_VNNI_END _Pragma("GCC pop_options")
#endif
