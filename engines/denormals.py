"""Flushing of denormal floats, per thread and for a moment, instead of for the whole process.

ONNX Runtime's `session.set_denormal_as_zero` sets the flag of its own pool threads for each session, but that of the
calling thread only once, by the first session of the process, and leaves it set: every later session, PyTorch, NumPy
and Hypothesis in that thread then compute with denormals as zero. `DenormalMode` sets the calling thread's flag around
a call and restores it, so that a session runs as it was asked to, whatever ran before.

The flags: FTZ and DAZ of MXCSR on x86-64, FZ of FPCR on arm64, set through glibc's `fesetenv`. Where that is not at
hand (another C library, another processor) `supported()` is false and nothing is changed.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from typing import Any

import numpy as np

__all__ = ["DenormalMode", "flushed", "supported"]

# machine -> (bytes of fenv_t, offset of the control word, bits that flush)
_LAYOUTS = {"x86_64": (32, 28, 0x8040), "aarch64": (8, 0, 1 << 24)}


def supported() -> bool:
    """Whether the calling thread's flag can be set here."""
    return _libm() is not None


def flushed() -> bool:
    """Whether the calling thread flushes denormals now: measured, not asked."""
    return bool(np.multiply(np.float32(1e-40), np.float32(1.0)) == 0)


class DenormalMode:
    """Context in which the calling thread flushes denormals, or keeps them; made once, entered for every call.

    One instance serves one thread at a time and does not nest in itself. It costs under a microsecond.
    """

    def __init__(self, flush: bool) -> None:
        self.flush = flush
        self._libm = _libm()
        if self._libm is None:
            return
        size, offset, bits = _LAYOUTS[platform.machine()]
        self._saved = ctypes.create_string_buffer(size)
        self._wanted = ctypes.create_string_buffer(size)
        self._get, self._set = self._libm.fegetenv, self._libm.fesetenv
        self._saved_ref, self._wanted_ref = ctypes.byref(self._saved), ctypes.byref(self._wanted)
        self._get(self._wanted_ref)
        control = ctypes.c_uint32.from_buffer(self._wanted, offset)
        control.value = control.value | bits if flush else control.value & ~bits

    def __enter__(self) -> None:
        if self._libm is not None:
            self._get(self._saved_ref)
            self._set(self._wanted_ref)

    def __exit__(self, *exception: object) -> None:
        if self._libm is not None:
            self._set(self._saved_ref)


@cache
def _libm() -> Any:
    """glibc's mathematics library, or None; PyDLL, because these calls are too short to release the lock for."""
    if sys.platform != "linux" or platform.machine() not in _LAYOUTS:
        return None
    if platform.libc_ver()[0] != "glibc":
        return None
    try:
        libm = ctypes.PyDLL("libm.so.6")
        libm.fegetenv, libm.fesetenv  # noqa: B018  # looked up here, so that a library without them is refused
    except (OSError, AttributeError):
        return None
    return libm
