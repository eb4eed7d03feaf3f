/* A QEMU plugin (interface 1: QEMU 6 to 8) that counts executed instructions per symbol, from the
 * first to the last call of one symbol, the mark, and how many there had been at each of its calls.
 *   qemu-aarch64 -plugin libinsn_count.so,out=FILE,mark=SYMBOL program ...
 * FILE gets one line "COUNT SYMBOL" per symbol, where code without one counts as "?", then one line
 * "COUNT @" per call of the mark: all instructions before it. The interface is declared here
 * because distributions ship QEMU without its header. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define API __attribute__((visibility("default")))

typedef struct qemu_tb qemu_tb;
typedef struct qemu_insn qemu_insn;

enum { INLINE_ADD_U64 = 0, NO_REGISTERS = 0 };

size_t qemu_plugin_tb_n_insns(const qemu_tb *tb);
qemu_insn *qemu_plugin_tb_get_insn(const qemu_tb *tb, size_t i);
const char *qemu_plugin_insn_symbol(const qemu_insn *insn);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*f)(uint64_t id, qemu_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_inline(qemu_tb *tb, int op, void *counter, uint64_t add);
void qemu_plugin_register_vcpu_tb_exec_cb(qemu_tb *tb, void (*f)(unsigned cpu, void *user),
                                          int registers, void *user);
void qemu_plugin_register_atexit_cb(uint64_t id, void (*f)(uint64_t id, void *user), void *user);
int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv);

API extern int qemu_plugin_version;
int qemu_plugin_version = 1;

enum {
  SYMBOLS = 8192,
  NAME = 96,
  MARKS = (1 << 16) + 1
}; /* the last slots take what no longer fits */

static struct {
  char name[NAME];
  uint64_t count, first, last; /* now, and at the first and the last mark */
} table[SYMBOLS];
static uint64_t total, marks[MARKS];
static uint32_t mark_count;
static char out[4096], mark[NAME];

static uint32_t name_hash(const char *name) {
  uint32_t h = 2166136261u; /* FNV-1a */
  for (; *name; name++) h = (h ^ (uint8_t)*name) * 16777619u;
  return h;
}

static uint64_t *counter(const char *name) {
  uint32_t at = name_hash(name) % (SYMBOLS - 1);
  for (int tries = 0; tries < 64; tries++, at = (at + 1) % (SYMBOLS - 1)) {
    if (!table[at].name[0]) snprintf(table[at].name, NAME, "%s", name);
    if (!strncmp(table[at].name, name, NAME - 1)) return &table[at].count;
  }
  strcpy(table[SYMBOLS - 1].name, "?");
  return &table[SYMBOLS - 1].count;
}

static const char *symbol(const qemu_tb *tb, size_t i) {
  const char *name = qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(tb, i));
  return name && name[0] ? name : "?";
}

static void marked(unsigned cpu, void *user) {
  (void)cpu, (void)user;
  for (int i = 0; i < SYMBOLS; i++) {
    table[i].last = table[i].count;
    if (!mark_count) table[i].first = table[i].count;
  }
  marks[mark_count] = total;
  if (mark_count < MARKS - 1) mark_count++; /* the runner keeps as many operations */
}

/* One addition per run of instructions of the same symbol, each time the block executes. A call
 * starts a block, and callbacks come before additions. */
static void translated(uint64_t id, qemu_tb *tb) {
  (void)id;
  size_t n = qemu_plugin_tb_n_insns(tb);
  if (!strcmp(symbol(tb, 0), mark))
    qemu_plugin_register_vcpu_tb_exec_cb(tb, marked, NO_REGISTERS, 0);
  qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &total, n);
  for (size_t i = 0, end; i < n; i = end) {
    const char *name = symbol(tb, i);
    for (end = i + 1; end < n && !strcmp(symbol(tb, end), name);) end++;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, counter(name), end - i);
  }
}

static void finished(uint64_t id, void *user) {
  (void)id, (void)user;
  FILE *f = fopen(out, "w");
  if (!f) return;
  for (int i = 0; i < SYMBOLS; i++) {
    uint64_t count = table[i].last - table[i].first;
    if (count) fprintf(f, "%" PRIu64 " %s\n", count, table[i].name);
  }
  for (uint32_t i = 0; i < mark_count; i++) fprintf(f, "%" PRIu64 " @\n", marks[i]);
  fclose(f);
}

API int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv) {
  (void)info;
  for (int i = 0; i < argc; i++) {
    if (!strncmp(argv[i], "out=", 4)) snprintf(out, sizeof out, "%s", argv[i] + 4);
    if (!strncmp(argv[i], "mark=", 5)) snprintf(mark, sizeof mark, "%s", argv[i] + 5);
  }
  if (!out[0] || !mark[0]) return -1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, finished, 0);
  return 0;
}
