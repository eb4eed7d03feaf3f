#include "filigree/filigree.h"

const char *fil_status_name(fil_status status) {
  switch (status) {
#define X(NAME, value, sentence)                                                                   \
  case FIL_##NAME: return #NAME;
#include "filigree/status.def"
#undef X
  }
  return "E_UNKNOWN";
}

const char *fil_status_sentence(fil_status status) {
  switch (status) {
#define X(NAME, value, sentence)                                                                   \
  case FIL_##NAME: return sentence;
#include "filigree/status.def"
#undef X
  }
  return "an unknown status";
}

const char *fil_version(void) { return "0.1.0"; }
