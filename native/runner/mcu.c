/* image MODEL OUT-PREFIX ISA REPEATS THREADS IN...
 * As main.c, on a microcontroller: MODEL is linked into flash and read in place, whatever file the
 * word names; the arena and the ports are buffers of exactly the model's sizes; files, console and
 * exit code are lent by semihosting. Prints also what memory there is and what was used of it:
 * {"isa": "scalar", "outputs": [[1, 10]], "dtypes": [1], "ops": [0, 1], "memory": {"code": 9000,
 * ...}}. */
#include "filigree/filigree.h"
#include "runner/mcu.h"

enum { EXIT_SYSTEM = 1, EXIT_USAGE = 2, EXIT_INPUT = 3, EXIT_REFUSED = 7 };
enum { MOST_OPS = 1 << 14, MOST_WORDS = 6 + FIL_MAX_IO, PORT_ALIGN = 16 };

static fil_model model;
HARNESS static void *ports[FIL_MAX_IO];
HARNESS static uint16_t ops[MOST_OPS];
HARNESS static uint32_t op_count;
HARNESS static char command[2048];
HARNESS static const char *words[MOST_WORDS];
HARNESS static char line[256];
HARNESS static uint32_t line_bytes, word_count;
HARNESS static int console;

static void flush(void) {
  mcu_write(console, line, line_bytes);
  line_bytes = 0;
}

static void put(const char *text) {
  for (; *text; text++) {
    if (line_bytes == sizeof line) flush();
    line[line_bytes++] = *text;
  }
}

static void put_number(uint32_t x) {
  char digits[11];
  int at = 10;
  digits[at] = 0;
  do digits[--at] = (char)('0' + x % 10);
  while (x /= 10);
  put(digits + at);
}

static _Noreturn void fail(int code) {
  put("\n");
  flush();
  mcu_exit(code);
}

static uint32_t number(const char *word) {
  uint32_t x = 0;
  for (; *word >= '0' && *word <= '9'; word++) x = 10 * x + (uint32_t)(*word - '0');
  return x;
}

static void words_split(void) {
  mcu_command(command, sizeof command);
  for (char *p = command; *p && word_count < MOST_WORDS;) {
    words[word_count++] = p;
    while (*p && *p != ' ') p++;
    if (*p) *p++ = 0;
  }
}

static size_t port_bytes(uint32_t port) {
  return (size_t)model.tensors[model.io[port].tensor].bytes;
}

static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

static void isa_force(const char *name) {
  if (same(name, "auto")) return;
  int isa = fil_isa_find(name);
  if (isa >= 0 && fil_isa_force(isa) == FIL_OK) return;
  put(name);
  put(" is not in this build, or failed its self-test");
  fail(EXIT_USAGE);
}

static void model_open(void) {
  fil_status status = fil_open(&model, mcu_model, (size_t)(mcu_model_end - mcu_model));
  if (status == FIL_OK) return;
  put(fil_status_name(status));
  put(": ");
  put(fil_status_sentence(status));
  put(model.bad_item < 0 ? " (item -" : " (item ");
  put_number((uint32_t)(model.bad_item < 0 ? -model.bad_item : model.bad_item));
  put(")");
  fail(EXIT_REFUSED);
}

static void ports_place(void) {
  uintptr_t at = 0;
  for (uint32_t i = 0; i < model.input_count + model.output_count; i++) {
    ports[i] = mcu_ports + at;
    at += (port_bytes(i) + PORT_ALIGN - 1) & ~(uintptr_t)(PORT_ALIGN - 1);
  }
  if (at <= (uintptr_t)mcu_ports_bytes && model.arena_bytes <= (uintptr_t)mcu_arena_bytes) return;
  put("the image was linked for a model with other buffers");
  fail(EXIT_SYSTEM);
}

static int file_open(const char *path, int mode) {
  int file = mcu_open(path, mode);
  if (file >= 0) return file;
  put(path);
  put(" cannot be opened");
  fail(EXIT_SYSTEM);
}

static void input_read(uint32_t i, const char *path) {
  int file = file_open(path, MCU_READ);
  size_t bytes = (size_t)mcu_bytes(file), wanted = port_bytes(i);
  if (bytes != wanted) {
    put("input ");
    put_number(i);
    put(" has ");
    put_number((uint32_t)bytes);
    put(" bytes, the model takes ");
    put_number((uint32_t)wanted);
    fail(EXIT_INPUT);
  }
  if (mcu_read(file, ports[i], bytes)) fail(EXIT_SYSTEM);
  mcu_close(file);
}

static void inputs_read(void) {
  if (word_count - 6 != model.input_count) {
    put_number(word_count - 6);
    put(" inputs, the model takes ");
    put_number(model.input_count);
    fail(EXIT_INPUT);
  }
  for (uint32_t i = 0; i < model.input_count; i++) input_read(i, words[6 + i]);
}

static void output_write(const char *prefix, uint32_t i) {
  put(prefix);
  put_number(i);
  line[line_bytes] = 0;
  int file = file_open(line, MCU_WRITE);
  line_bytes = 0;
  if (mcu_write(file, ports[model.input_count + i], port_bytes(model.input_count + i)))
    fail(EXIT_SYSTEM);
  mcu_close(file);
}

/* Called before the first operation and after each: see main.c. */
void runner_mark(void);
__attribute__((noinline)) void runner_mark(void) { __asm__ volatile(""); }

static void op_done(void *user, uint32_t op) {
  (void)user;
  if (op_count < MOST_OPS) ops[op_count++] = (uint16_t)op;
  runner_mark();
}

static void run(void) {
  op_count = 0;
  runner_mark();
  fil_run_traced(&model, mcu_arena, (const void *const *)ports, ports + model.input_count, op_done,
                 0);
}

static void describe_shapes(void) {
  for (uint32_t i = 0; i < model.output_count; i++) {
    const fil_io *port = &model.io[model.input_count + i];
    put(i ? ", [" : "[");
    for (uint32_t d = 0; d < port->rank; d++) {
      if (d) put(", ");
      put_number(port->dim[d]);
    }
    put("]");
  }
}

static void describe_memory(uint32_t stack) {
  const struct {
    const char *name;
    uint32_t bytes;
  } rows[] = {
      {"code", (uint32_t)(uintptr_t)mcu_code_bytes},
      {"model", (uint32_t)(mcu_model_end - mcu_model)},
      {"arena", (uint32_t)(uintptr_t)mcu_arena_bytes},
      {"ports", (uint32_t)(uintptr_t)mcu_ports_bytes},
      {"static", (uint32_t)(uintptr_t)mcu_static_bytes},
      {"stack", stack},
      {"flash_limit", (uint32_t)(uintptr_t)mcu_flash_bytes},
      {"ram_limit", (uint32_t)(uintptr_t)mcu_ram_bytes},
  };
  for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    put(i ? ", \"" : "\"");
    put(rows[i].name);
    put("\": ");
    put_number(rows[i].bytes);
  }
}

static void describe(uint32_t stack) {
  put("{\"isa\": \"");
  put(fil_isa_name(model.isa));
  put("\", \"outputs\": [");
  describe_shapes();
  put("], \"dtypes\": [");
  for (uint32_t i = 0; i < model.output_count; i++) {
    if (i) put(", ");
    put_number(model.tensors[model.io[model.input_count + i].tensor].dtype);
  }
  put("], \"ops\": [");
  for (uint32_t i = 0; i < op_count; i++) {
    if (i) put(", ");
    put_number(ops[i]);
  }
  put("], \"memory\": {");
  describe_memory(stack);
  put("}}\n");
  flush();
}

int mcu_main(void) {
  console = mcu_open(":tt", MCU_STDERR);
  words_split();
  if (word_count < 6) {
    put("image MODEL OUT-PREFIX ISA REPEATS THREADS IN...");
    fail(EXIT_USAGE);
  }
  isa_force(words[3]);
  model_open();
  ports_place();
  inputs_read();
  for (uint32_t n = number(words[4]); n > 0; n--) run();
  uint32_t stack = (uint32_t)mcu_stack_used();
  if (!mcu_harness_intact()) {
    put("the run wrote past the end of RAM");
    fail(EXIT_SYSTEM);
  }
  for (uint32_t i = 0; i < model.output_count; i++) output_write(words[2], i);
  console = mcu_open(":tt", MCU_STDOUT);
  describe(stack);
  return 0;
}
