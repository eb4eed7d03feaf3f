/* The small pieces: checksums, checked arithmetic, names, instruction sets. */
#include "filigree/filigree.h"
#include "runtime/checked.h"
#include <stdio.h>
#include <string.h>

/* The build with the small table, beside the library's own. */
#undef FIL_NO_CRC_TABLES
#define FIL_NO_CRC_TABLES 1
uint32_t small_crc32c(uint32_t crc, const void *data, size_t bytes);
#define fil_crc32c small_crc32c
#include "runtime/crc32c.c"
#undef fil_crc32c

static int failures;
#define CHECK(x) (!(x) ? failures++, fprintf(stderr, "line %d: %s\n", __LINE__, #x) : 0)

static void test_checked(void) {
  const uint32_t most = UINT32_MAX;
  CHECK(fil_narrow(most) == most && fil_narrow(1ull << 32) == most && fil_narrow(7) == 7);
  CHECK(fil_mul(1u << 16, 1u << 15) == 1u << 31 && fil_mul(1u << 16, 1u << 16) == most);
  CHECK(fil_add(most - 1, 1) == most && fil_add(most, most) == most && fil_add(2, 3) == 5);
  CHECK(fil_reach(5, 3, 7) == 19 && fil_reach(5, 1, 7) == 5 && fil_reach(5, 0, 7) == most);
  CHECK(fil_reach(most, most, most) == most && fil_reach(fil_reach(0, 0, 0), 1, 0) == most);
  CHECK(fil_round_up(0, 16) == 0 && fil_round_up(17, 16) == 32 && fil_round_up(9, 1) == 9);
  CHECK(fil_round_up(most - 3, 16) == most && fil_round_up(most, 1) == most);
  CHECK(fil_within(3, 5, 8) && !fil_within(4, 5, 8) && !fil_within(9, 0, 8));
  CHECK(!fil_within(8, most, 8) && fil_within(8, 0, 8));
  CHECK(fil_overlap(0, 64, 63, 1) && !fil_overlap(0, 64, 64, 64) && !fil_overlap(64, 64, 0, 64));
}

static void test_work(void) {
  const uint32_t cap = FIL_MAX_ELEMENTS;
  CHECK(fil_work(2, 3, 5, 7) == 210 && fil_work(2, 0, 5, 7) == 0);
  CHECK(fil_work(cap, 1 << 11, 1, 1) == 1ull << 39 && fil_work(1, 1, 1 << 11, cap) == 1ull << 39);
  CHECK(fil_work(cap, 1 << 12, 1, 1) == UINT64_MAX);
  CHECK(fil_work(cap + 1, 1, 1, 1) == UINT64_MAX && fil_work(1, 1, 1, cap + 1) == UINT64_MAX);
  CHECK(fil_work(cap, cap, cap, cap) == UINT64_MAX);
  CHECK(fil_work(1 << 20, (1 << 20) - 1, cap, 1) == UINT64_MAX);
}

static void test_crc32c(void) {
  uint8_t zeros[32] = {0}, rising[32];
  for (int i = 0; i < 32; i++) rising[i] = (uint8_t)i;
  CHECK(fil_crc32c(0, "123456789", 9) == 0xe3069283u); /* RFC 3720, B.4 */
  CHECK(fil_crc32c(0, zeros, 32) == 0x8a9136aau);
  CHECK(fil_crc32c(0, rising, 32) == 0x46dd794eu);
  for (size_t cut = 0; cut <= 32; cut++) {
    CHECK(fil_crc32c(fil_crc32c(0, rising, cut), rising + cut, 32 - cut) == 0x46dd794eu);
    CHECK(small_crc32c(0, rising, cut) == fil_crc32c(0, rising, cut));
  }
}

static void test_names(void) {
  CHECK(!strcmp(fil_status_name(FIL_E_CRC), "E_CRC"));
  CHECK(!strcmp(fil_status_sentence(FIL_OK), "ok"));
  CHECK(!strcmp(fil_status_name((fil_status)-99), "E_UNKNOWN"));
  for (int i = 0; i < FIL_ISA_COUNT; i++) CHECK(fil_isa_find(fil_isa_name((fil_isa)i)) == i);
  CHECK(fil_isa_find("") == -1 && fil_isa_find("avx") == -1 && fil_isa_find("avx5122") == -1);
}

static void test_isa(void) {
  CHECK(fil_isa_present(FIL_ISA_SCALAR) && !fil_isa_present(FIL_ISA_COUNT));
  CHECK(fil_isa_present(fil_isa_best()));
  CHECK(!fil_isa_present((fil_isa)-1) && fil_isa_force(FIL_ISA_COUNT) == FIL_E_UNSUPPORTED);
  for (int i = 0; i < FIL_ISA_COUNT; i++)
    CHECK(fil_isa_force(i) == (fil_isa_present((fil_isa)i) ? FIL_OK : FIL_E_UNSUPPORTED));
  CHECK(fil_isa_force(-1) == FIL_OK);
}

int main(void) {
  test_checked();
  test_work();
  test_crc32c();
  test_names();
  test_isa();
  return failures != 0;
}
