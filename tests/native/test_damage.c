/* Usage: test_damage FILE: every truncation and flip of a valid packed model, as it is (refused)
 * and with its checksums repaired (refused, or run without touching a byte it should not). */
#include "harness.h"

/* Every bit, and the whole byte. */
static const uint8_t masks[] = {1, 2, 4, 8, 16, 32, 64, 128, 255};

static size_t failures;

static void refused(fil_status status, const char *what, size_t at) {
  if (status < 0) return;
  failures++;
  fprintf(stderr, "accepted: %s at %zu\n", what, at);
}

int main(int argc, char **argv) {
  size_t bytes, accepted = 0;
  if (argc != 2) return 2;
  uint8_t *file = read_file(argv[1], &bytes);
  if (open_and_run(file, bytes, 0) != FIL_OK) return 2;

  for (size_t n = 0; n < bytes; n++) {
    refused(open_and_run(file, n, 0), "truncation", n);
    refused(open_and_run(file, n, 1), "repaired truncation", n);
  }
  for (size_t i = 0; i < bytes; i++) {
    for (size_t k = 0; k < sizeof masks; k++) {
      file[i] ^= masks[k];
      refused(open_and_run(file, bytes, 0), "flip", i);
      accepted += open_and_run(file, bytes, 1) == FIL_OK;
      file[i] ^= masks[k];
    }
  }
  printf("%zu bytes, %zu repaired mutants accepted and run, %zu failures\n", bytes, accepted,
         failures);
  free(file);
  return failures != 0;
}
