#include "filigree/filigree.h"
#include "runtime/config.h"
#include "runtime/context.h"
#include "runtime/features.h"
#if FIL_HAVE_AVX2 || FIL_HAVE_AVX512
#include <cpuid.h>
#endif

#if __GCC_ATOMIC_INT_LOCK_FREE == 2
#define SHARED _Atomic
#else
#define SHARED volatile /* Cortex-M0: one core, and no instruction for more */
#endif

/* Every ISA but scalar, the reference, runs its kernels once against it before it is used. */
#if !FIL_NO_SELFTEST
enum { UNTESTED, PASSED, FAILED };

static SHARED unsigned char tested[FIL_ISA_COUNT];
#endif
static SHARED int forced = -1;

static const uint8_t isa_built[FIL_ISA_COUNT] = {
#define X(NAME, name, lanes) FIL_HAVE_##NAME,
#include "filigree/isa.def"
#undef X
};

static const uint8_t isa_lanes[FIL_ISA_COUNT] = {
#define X(NAME, name, lanes) lanes,
#include "filigree/isa.def"
#undef X
};

static const char *const isa_names[FIL_ISA_COUNT] = {
#define X(NAME, name, lanes) #name,
#include "filigree/isa.def"
#undef X
};

#if FIL_HAVE_AVX2 || FIL_HAVE_AVX512
/* The operating system saves these register files (XCR0 bits). */
static int x86_saves(uint32_t mask) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
  __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return (a & mask) == mask;
}

static int x86_has(uint32_t leaf7_ebx, uint32_t xcr0) {
  const uint32_t leaf1_ecx = bit_FMA | bit_F16C;
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & leaf1_ecx) != leaf1_ecx) return 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & leaf7_ebx) != leaf7_ebx) return 0;
  return x86_saves(xcr0);
}
#endif

/* What a processor adds to NEON: known when this was compiled, or from Linux, if a C library is
 * there to be asked. */
#if FIL_HAVE_NEON_FP16 || FIL_HAVE_NEON_DOTPROD
enum { HWCAP = 16, HWCAP_ASIMDHP = 1 << 10, HWCAP_ASIMDDP = 1 << 20 };
#ifdef __linux__
extern unsigned long getauxval(unsigned long type) __attribute__((weak));
static int linux_says(unsigned long bit) { return getauxval && getauxval(HWCAP) & bit; }
#else
static int linux_says(unsigned long bit) { return (void)bit, 0; }
#endif
#ifdef __ARM_FEATURE_FP16_VECTOR_ARITHMETIC
#define HAS_FP16 1
#else
#define HAS_FP16 linux_says(HWCAP_ASIMDHP)
#endif
#ifdef __ARM_FEATURE_DOTPROD
#define HAS_DOTPROD 1
#else
#define HAS_DOTPROD linux_says(HWCAP_ASIMDDP)
#endif
static int arm_has(fil_isa isa) {
  if (isa == FIL_ISA_NEON_FP16) return HAS_FP16;
  return isa != FIL_ISA_NEON_DOTPROD || HAS_DOTPROD;
}
#endif

#if FIL_HAVE_AVX512
static SHARED unsigned char vnni; /* 0: not asked yet; else 1 more than the answer */

int fil_has_vnni(void) {
  if (!vnni) {
    uint32_t a, b, c = 0, d;
    int has = !FIL_NO_VNNI && __get_cpuid_count(7, 0, &a, &b, &c, &d) && c & bit_AVX512VNNI;
    vnni = (unsigned char)(1 + (has != 0));
  }
  return vnni - 1;
}
#endif

static int cpu_has(fil_isa isa) {
#if FIL_HAVE_NEON_FP16 || FIL_HAVE_NEON_DOTPROD
  if (!arm_has(isa)) return 0;
#endif
#if FIL_HAVE_AVX2 || FIL_HAVE_AVX512
  if (isa == FIL_ISA_AVX2) return x86_has(bit_AVX2, 0x06);
  if (isa == FIL_ISA_AVX512)
    return x86_has(bit_AVX2 | bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL, 0xe6);
#endif
  return isa < FIL_ISA_COUNT; /* the others are decided at compile time */
}

static int isa_passes(fil_isa isa) {
#if FIL_NO_SELFTEST
  return isa < FIL_ISA_COUNT;
#else
  if (isa == FIL_ISA_SCALAR) return 1;
  /* Two threads may both test: the result is the same. */
  if (tested[isa] == UNTESTED) tested[isa] = fil_isa_selftest(isa) == 0 ? PASSED : FAILED;
  return tested[isa] == PASSED;
#endif
}

int fil_isa_present(fil_isa isa) {
  if ((unsigned)isa >= FIL_ISA_COUNT || !isa_built[isa]) return 0;
  return cpu_has(isa) && isa_passes(isa);
}

uint8_t fil_isa_activations(fil_isa isa) { return isa == FIL_ISA_NEON_FP16 ? FIL_F16 : FIL_F32; }

fil_isa fil_isa_for(uint8_t activations, uint32_t lanes) {
  int force = forced;
  if (force >= 0 && fil_isa_activations((fil_isa)force) == activations)
    return lanes % isa_lanes[force] ? FIL_ISA_COUNT : (fil_isa)force;
  for (int isa = FIL_ISA_COUNT - 1; isa >= 0; isa--)
    if (fil_isa_activations((fil_isa)isa) == activations && lanes % isa_lanes[isa] == 0 &&
        fil_isa_present((fil_isa)isa))
      return (fil_isa)isa;
  return FIL_ISA_COUNT;
}

fil_isa fil_isa_forced(void) { return forced < 0 ? FIL_ISA_COUNT : (fil_isa)forced; }

fil_isa fil_isa_best(void) {
  for (int isa = FIL_ISA_COUNT - 1; isa > 0; isa--)
    if (fil_isa_activations((fil_isa)isa) == FIL_F32 && fil_isa_present((fil_isa)isa))
      return (fil_isa)isa;
  return FIL_ISA_SCALAR;
}

const char *fil_isa_name(fil_isa isa) {
  return (unsigned)isa < FIL_ISA_COUNT ? isa_names[isa] : "unknown";
}

uint32_t fil_isa_lanes(fil_isa isa) { return (unsigned)isa < FIL_ISA_COUNT ? isa_lanes[isa] : 0; }

static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

int fil_isa_find(const char *name) {
  for (int isa = 0; isa < FIL_ISA_COUNT; isa++)
    if (same(name, isa_names[isa])) return isa;
  return -1;
}

fil_status fil_isa_force(int isa) {
  if (isa >= 0 && !fil_isa_present((fil_isa)isa)) return FIL_E_UNSUPPORTED;
  forced = isa < 0 ? -1 : isa;
  return FIL_OK;
}
