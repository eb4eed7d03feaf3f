/* libFuzzer target: bytes -> checksums repaired -> fil_open -> if accepted, a guarded run. */
#include "../native/harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  open_and_run(data, bytes, 1);
  return 0;
}
