/* What mcu.c and mcu_start.c share: semihosting, and what the linker script placed. */
#ifndef FIL_RUNNER_MCU_H
#define FIL_RUNNER_MCU_H
#include <stddef.h>
#include <stdint.h>

/* What stands for the host and not for the part: memory of its own, beyond the part's. */
#define HARNESS __attribute__((section(".harness")))

enum { MCU_READ = 1, MCU_STDOUT = 4, MCU_WRITE = 5, MCU_STDERR = 8 };
enum { MCU_PAINT = 0xa5 };

/* A linker's symbol is an address or, of a size, a number that looks like one. */
typedef uint8_t mcu_symbol[];
extern mcu_symbol mcu_stack, mcu_stack_end, mcu_ram, mcu_ram_bytes, mcu_flash, mcu_flash_bytes;
extern mcu_symbol mcu_harness, mcu_harness_bytes, mcu_bss, mcu_bss_end, mcu_data, mcu_data_end;
extern mcu_symbol mcu_data_source, mcu_code_bytes, mcu_static_bytes;
extern mcu_symbol mcu_arena, mcu_arena_bytes, mcu_ports, mcu_ports_bytes, mcu_model, mcu_model_end;

_Noreturn void mcu_reset(void);
int mcu_main(void);

_Noreturn void mcu_exit(int code);
int mcu_open(const char *path, int mode); /* a handle, or -1; ":tt" is the console */
void mcu_close(int file);
int mcu_bytes(int file);
int mcu_read(int file, void *data, size_t bytes);        /* 0: all of them */
int mcu_write(int file, const void *data, size_t bytes); /* the same */
int mcu_command(char *text, size_t bytes);               /* 0: the words, zero-terminated */

/* What region i of the memory protection unit, where there is one, lets be read and written: a
 * power of two of bytes, 32 or more, from a multiple of it on; 0: nothing. Flash, RAM and the
 * harness are regions 0 to 2, the last is 7. */
void mcu_limit(uint32_t i, const void *start, uint32_t bytes);

size_t mcu_stack_used(void);
int mcu_harness_intact(void); /* nothing wrote just past the end of the part's RAM */
#endif
