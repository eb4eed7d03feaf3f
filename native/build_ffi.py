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


def cdef(compiler: str) -> str:
    """The declarations of filigree.h, format.h and probe.h as plain C, macros expanded."""
    includes = ("-I", str(HERE), "-I", str(HERE / "include"))
    header = str(HERE / "hosted" / "probe" / "probe.h")
    out = subprocess.run(
        [compiler, "-E", "-P", "-DFIL_CDEF", "-x", "c", *includes, header],
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
    ffi.set_source("filigree.native._ffi", '#include "hosted/probe/probe.h"')
    ffi.emit_c_code(target)


if __name__ == "__main__":
    main()
