"""Libraries with custom operators: a card lists those of every runtime in one place, and each runtime takes its own.

| the library has                                          | ONNX Runtime | TensorRT |
|----------------------------------------------------------|--------------|----------|
| `RegisterCustomOps`                                      | yes          | no       |
| `getCreators` or `getPluginCreators`                     | no           | yes      |
| both                                                     | yes          | yes      |
| neither: plugins that register themselves when loaded    | no           | yes      |

An exported symbol's name stands in the file, in ELF, Mach-O and PE alike. So the file is searched, and a library of
another runtime is not loaded: what it needs may not be on this machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from trueline._reading import read_file

__all__ = ["OF_ONNX_RUNTIME", "OF_TENSORRT", "for_onnx_runtime", "for_tensorrt"]

OF_ONNX_RUNTIME = "RegisterCustomOps"
OF_TENSORRT = ("getCreators", "getPluginCreators")
LIBRARY = (b"\x7fELF", b"MZ", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe")  # first bytes, by format


def for_onnx_runtime(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Libraries that ONNX Runtime is to register; a file that is missing or no library is left for it to refuse."""
    return tuple(path for path in paths if _names(path, (OF_ONNX_RUNTIME,)) is not False)


def for_tensorrt(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Libraries that TensorRT is to load; a file that is missing or no library is left for it to refuse."""
    return tuple(
        path for path in paths if _names(path, OF_TENSORRT) is not False or _names(path, (OF_ONNX_RUNTIME,)) is not True
    )


def _names(path: Path, symbols: tuple[str, ...]) -> bool | None:
    """Whether one of the symbols stands in a library; None where that is no library."""
    try:
        content = read_file(path)
    except OSError:
        return None
    if not content.startswith(LIBRARY):
        return None
    return any(symbol.encode() in content for symbol in symbols)
