/* Cortex-M: vectors, the memory that the part is allowed to touch, faults, and semihosting, by
 * which an emulator (or a debugger) lends files and an exit code. */
#include "runner/mcu.h"

#ifdef __ARM_ARCH_6M__
#define HAS_LIMITS 0
#else
#define HAS_LIMITS 1 /* a memory protection unit, and registers that tell a fault's reason */
#endif
#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

enum { SYS_OPEN = 1, SYS_CLOSE, SYS_WRITE = 5, SYS_READ, SYS_FLEN = 12, SYS_CMDLINE = 21 };
enum { SYS_EXIT = 32, APPLICATION_EXIT = 0x20026 };
enum { EXIT_FAULT = 1, GUARD = 1024 };

__attribute__((section(".harness.first"))) static uint8_t guard[GUARD];
HARNESS static uint64_t fault_stack[256];

static int call(int operation, const void *block) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = block;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

_Noreturn void mcu_exit(int code) {
  uint32_t block[] = {APPLICATION_EXIT, (uint32_t)code};
  for (;;) call(SYS_EXIT, block);
}

int mcu_open(const char *path, int mode) {
  size_t length = 0;
  while (path[length]) length++;
  uint32_t block[] = {(uint32_t)(uintptr_t)path, (uint32_t)mode, (uint32_t)length};
  return call(SYS_OPEN, block);
}

void mcu_close(int file) {
  uint32_t block[] = {(uint32_t)file};
  call(SYS_CLOSE, block);
}

int mcu_bytes(int file) {
  uint32_t block[] = {(uint32_t)file};
  return call(SYS_FLEN, block);
}

int mcu_read(int file, void *data, size_t bytes) {
  uint32_t block[] = {(uint32_t)file, (uint32_t)(uintptr_t)data, (uint32_t)bytes};
  return bytes ? call(SYS_READ, block) : 0;
}

int mcu_write(int file, const void *data, size_t bytes) {
  uint32_t block[] = {(uint32_t)file, (uint32_t)(uintptr_t)data, (uint32_t)bytes};
  return bytes ? call(SYS_WRITE, block) : 0;
}

int mcu_command(char *text, size_t bytes) {
  uint32_t block[] = {(uint32_t)(uintptr_t)text, (uint32_t)bytes};
  return call(SYS_CMDLINE, block);
}

/* Flash read-only, RAM and the harness without execution, nothing else. */
#if defined(__ARM_ARCH_8M_MAIN__) || defined(__ARM_ARCH_8_1M_MAIN__)
enum { MPU_CTRL = 0xe000ed94, MPU_RNR = MPU_CTRL + 4, MPU_RBAR = MPU_CTRL + 8 };
enum { MPU_RLAR = MPU_CTRL + 12, MPU_MAIR0 = 0xe000edc0 };
enum { READ_ONLY = 3 << 1, READ_WRITE = 1 << 1, NO_EXECUTE = 1, UNCACHED = 0x44 };

static void region(uint32_t i, const void *start, const void *bytes, uint32_t access) {
  REGISTER(MPU_RNR) = i;
  REGISTER(MPU_RBAR) = (uint32_t)(uintptr_t)start | access;
  REGISTER(MPU_RLAR) = (uint32_t)((uintptr_t)start + (uintptr_t)bytes - 32) | 1;
}

static void region_drop(uint32_t i) {
  REGISTER(MPU_RNR) = i;
  REGISTER(MPU_RLAR) = 0;
}

static void limits_attributes(void) { REGISTER(MPU_MAIR0) = UNCACHED; }
#elif defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__)
enum { MPU_CTRL = 0xe000ed94, MPU_RNR = MPU_CTRL + 4, MPU_RBAR = MPU_CTRL + 8 };
enum { MPU_RASR = MPU_CTRL + 12 };
enum { READ_ONLY = 6 << 24, READ_WRITE = 3 << 24, NO_EXECUTE = 1 << 28, NORMAL = 1 << 19 };

/* Sizes are powers of two, and starts multiples of them. */
static void region(uint32_t i, const void *start, const void *bytes, uint32_t access) {
  uint32_t log2 = 31 - (uint32_t)__builtin_clz((uint32_t)(uintptr_t)bytes);
  REGISTER(MPU_RNR) = i;
  REGISTER(MPU_RBAR) = (uint32_t)(uintptr_t)start;
  REGISTER(MPU_RASR) = access | NORMAL | (log2 - 1) << 1 | 1;
}

static void region_drop(uint32_t i) {
  REGISTER(MPU_RNR) = i;
  REGISTER(MPU_RASR) = 0;
}

static void limits_attributes(void) {}
#endif

static void limits_set(void) {
#if HAS_LIMITS
  region(0, mcu_flash, mcu_flash_bytes, READ_ONLY);
  region(1, mcu_ram, mcu_ram_bytes, READ_WRITE | NO_EXECUTE);
  region(2, mcu_harness, mcu_harness_bytes, READ_WRITE | NO_EXECUTE);
  limits_attributes();
  REGISTER(MPU_CTRL) = 1;
  __asm__ volatile("dsb\n isb");
#endif
}

void mcu_limit(uint32_t i, const void *start, uint32_t bytes) {
#if HAS_LIMITS
  if (bytes) region(i, start, (const void *)(uintptr_t)bytes, READ_WRITE | NO_EXECUTE);
  else region_drop(i);
  __asm__ volatile("dsb\n isb");
#else
  (void)i, (void)start, (void)bytes;
#endif
}

static void limits_lift(void) {
#if HAS_LIMITS
  REGISTER(MPU_CTRL) = 0;
  __asm__ volatile("dsb\n isb");
#endif
}

static void say(int console, const char *text) {
  size_t length = 0;
  while (text[length]) length++;
  mcu_write(console, text, length);
}

static void say_hex(int console, const char *before, uint32_t x) {
  char text[] = "0x00000000";
  for (int i = 9; i > 1; i--, x >>= 4) text[i] = "0123456789abcdef"[x & 15];
  say(console, before);
  say(console, text);
}

/* On a stack of its own, as the other may be what is wrong. frame: r0-r3, r12, lr, pc, psr. */
_Noreturn __attribute__((used)) static void fault(const uint32_t *frame) {
  int console = mcu_open(":tt", MCU_STDERR);
  uintptr_t at = (uintptr_t)frame, start = (uintptr_t)mcu_stack;
  limits_lift();
  if (at < start || at >= (uintptr_t)mcu_stack_end)
    say_hex(console, "the stack has overflowed its bytes: ",
            (uint32_t)(uintptr_t)mcu_stack_end - (uint32_t)start);
  else {
    say_hex(console, "fault at ", frame[6]);
    say_hex(console, ", called from ", frame[5]);
  }
#if HAS_LIMITS
  uint32_t status = REGISTER(0xe000ed28);
  say_hex(console, ", status ", status);
  if (status & 1 << 7) say_hex(console, ": no access to ", REGISTER(0xe000ed34));
  if (status & 1 << 15) say_hex(console, ": nothing at ", REGISTER(0xe000ed38));
#endif
  say(console, "\n");
  mcu_exit(EXIT_FAULT);
}

__attribute__((naked)) static void fault_entry(void) {
  __asm__ volatile("mrs r0, msp\n ldr r1, =%c0\n mov sp, r1\n bl %c1\n"
                   :
                   : "i"(fault_stack + 256), "i"(fault));
}

static void paint(uint8_t *from, const uint8_t *to) {
  for (volatile uint8_t *p = from; p < to; p++) *p = MCU_PAINT;
}

size_t mcu_stack_used(void) {
  const uint8_t *p = mcu_stack;
  while (p < mcu_stack_end && *p == MCU_PAINT) p++;
  return (size_t)(mcu_stack_end - p);
}

int mcu_harness_intact(void) {
  for (size_t i = 0; i < GUARD; i++)
    if (guard[i] != MCU_PAINT) return 0;
  return 1;
}

static void memory_start(void) {
  uint8_t *sp;
  __asm__ volatile("mov %0, sp" : "=r"(sp));
  paint(mcu_stack, sp - 64);
  paint(guard, guard + GUARD);
  const uint8_t *source = mcu_data_source;
  for (volatile uint8_t *p = mcu_data; p < mcu_data_end; p++) *p = *source++;
  for (volatile uint8_t *p = mcu_bss; p < mcu_bss_end; p++) *p = 0;
}

_Noreturn void mcu_reset(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  REGISTER(0xe000ed88) |= 0xf << 20; /* CPACR: the floating-point unit */
  __asm__ volatile("dsb\n isb");
#endif
  memory_start();
  limits_set();
  mcu_exit(mcu_main());
}

enum { VECTORS = 16, FAULTS = 7 };

__attribute__((section(".vectors"), used)) static void *const vectors[VECTORS] = {
    mcu_stack_end, mcu_reset, fault_entry, fault_entry, fault_entry, fault_entry, fault_entry,
};
