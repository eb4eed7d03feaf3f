"""Write _ffi.c from the public C headers: ``python build_ffi.py CC OUT``.

The headers are read through the C preprocessor with FIL_CDEF set (no system includes, no static
asserts), so that the X-macro lists reach Python without being typed twice.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
INCLUDES = '#include "hosted/team.h"\n#include "hosted/probe/probe.h"\n'


def cdef(compiler: str) -> str:
    """The declarations of INCLUDES and what they include as plain C, macros expanded."""
    paths = ("-I", str(HERE), "-I", str(HERE / "include"))
    out = subprocess.run(
        [compiler, "-E", "-P", "-DFIL_CDEF", "-x", "c", *paths, "-"],
        input=INCLUDES,
        check=True,
        capture_output=True,
        text=True,
    )
    return out.stdout


def main() -> None:
    compiler, target = sys.argv[1:3]
    ffi = FFI()
    ffi.cdef(cdef(compiler))
    ffi.cdef('extern "Python" void fil_py_trace(void *user, uint32_t op);')
    ffi.set_source("filigree.native._ffi", INCLUDES)
    ffi.emit_c_code(target)


if __name__ == "__main__":
    main()
