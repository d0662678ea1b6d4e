"""int8 calibration caches: tables of scales that a calibrator of TensorRT (to 10.x) wrote, read back for a build.

The first line names the version and the algorithm, `TRT-8601-EntropyCalibration2`; then `tensor: hex` lines with the
scale as a big-endian float. TensorRT skips a cache of another algorithm without failing and asks for data instead; so
the calibrator is of the cache's algorithm, and remembers being asked.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import ModelLoadError
from engines.tensorrt.api import Api, IInt8Calibrator
from trueline._reading import read_file

__all__ = ["CalibrationCache", "cache_calibrator", "read_calibration_cache"]

HEADER = re.compile(r"TRT-(\d+)-(\w+)")
ALGORITHMS = ("EntropyCalibration", "EntropyCalibration2", "MinMaxCalibration")


@dataclass(frozen=True, slots=True)
class CalibrationCache:
    """A checked cache: its file's bytes, the version and algorithm of its header, the number of scales."""

    content: bytes
    version: str
    algorithm: str
    scales: int


def read_calibration_cache(path: Path) -> CalibrationCache:
    """Read and check a calibration cache.

    Raises:
        ModelLoadError: it is no calibration cache, or of an algorithm that no calibrator here has.
    """
    content = read_file(path)
    lines = content.decode("utf-8", errors="replace").splitlines()
    header = HEADER.fullmatch(lines[0].strip()) if lines else None
    if header is None:
        raise _bad(path, f"no calibration cache: its first line is {lines[0][:40]!r}" if lines else "it is empty")
    if header[2] not in ALGORITHMS:
        raise _bad(path, f"calibration algorithm {header[2]!r}, must be in {list(ALGORITHMS)!r}")
    scales = [line for line in lines[1:] if line.strip()]
    for number, line in enumerate(scales, start=2):
        if not _is_scale(line):
            raise _bad(path, f"line {number} is no `tensor: scale`: {line[:60]!r}")
    if not scales:
        raise _bad(path, "it has no scales")
    return CalibrationCache(content, header[1], header[2], len(scales))


def cache_calibrator(api: Api, cache: CalibrationCache) -> Any:
    """A calibrator that offers the cache and has no data; `asked` turns true where TensorRT wanted to calibrate."""
    trt = api.trt
    bases = (trt.IInt8EntropyCalibrator, trt.IInt8EntropyCalibrator2, trt.IInt8MinMaxCalibrator)
    base: type[IInt8Calibrator] = bases[ALGORITHMS.index(cache.algorithm)]

    class FromCache(base):  # type: ignore[misc]  # the base comes from the bindings that are installed
        def __init__(self) -> None:
            base.__init__(self)  # the bindings demand the base's own call
            self.asked = False

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> list[int]:
            self.asked = True
            return []

        def read_calibration_cache(self) -> bytes:
            return cache.content

        def write_calibration_cache(self, cache: Any) -> None:
            """The cache is only read."""

    return FromCache()


def _is_scale(line: str) -> bool:
    tensor, _, number = line.rpartition(":")
    try:
        struct.unpack("!f", bytes.fromhex(number.strip()))
    except (ValueError, struct.error):
        return False
    return bool(tensor)


def _bad(path: Path, what: str) -> ModelLoadError:
    return ModelLoadError(
        what, where=str(path), remedy="give a cache that trtexec --calib or an IInt8Calibrator of TensorRT wrote"
    )
