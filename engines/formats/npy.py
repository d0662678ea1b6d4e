"""Arrays in NumPy's own format, from bytes that may be damaged or lie: no pickle, no memory beyond the bytes there are.

`numpy.load` makes room for whatever the header says before it looks for the data, and its header parser raises what it
likes. Here a header that asks for other bytes than follow it is refused first.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

__all__ = ["npy"]

_READERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}


def npy(data: bytes) -> NDArray[Any]:
    """The array of a whole .npy file.

    Raises:
        ValueError: it is none, holds objects, or has not as many bytes as its header says.
    """
    stream = io.BytesIO(data)
    shape, fortran, dtype = _header(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are pickles")
    if any(size < 0 for size in shape):
        raise ValueError(f"it has the shape {list(shape)}")
    wanted, there = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if wanted != there:
        raise ValueError(f"{dtype} {list(shape)} has {wanted} bytes, there are {there}")
    flat = np.frombuffer(data, dtype, count=math.prod(shape), offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy_format.read_magic(stream)
        if version not in _READERS:
            raise ValueError(f"version {version} of the format")
        return _READERS[version](stream)
    except ValueError:
        raise
    except Exception as error:  # the header is a Python literal: its parser raises TokenError, MemoryError, ...
        raise ValueError(f"no header of .npy: {type(error).__name__}") from error
