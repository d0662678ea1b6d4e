"""Tensors as safetensors bytes, without copies: for files, for pipes, and for memory that two processes share.

    8 bytes     length of the header, little-endian
    header      JSON: name -> {dtype, shape, data_offsets}, and `__metadata__`: str -> str
    data        every tensor in C order, little-endian, without gaps

The library of that name copies every tensor twice on its way; a frame here is megabytes and milliseconds count. Source
of the layout: the format's specification; the library reads what `pack` writes and the other way round (tests).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import RecordingError
from trueline._reading import json_of, read_file

__all__ = ["pack", "read_safetensors", "unpack", "write_safetensors"]

_METADATA = "__metadata__"
_MAX_HEADER_BYTES = 10_000_000  # 100,000 tensors; the specification allows ten times that
_NAMES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32", "int32": "I32",
    "uint64": "U64", "int64": "I64", "float16": "F16", "float32": "F32", "float64": "F64",
}  # fmt: skip
_DTYPES = {code: np.dtype(name).newbyteorder("<") for name, code in _NAMES.items()}
_BFLOAT16 = "BF16"


def pack(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> list[memoryview]:
    """Buffers that, one after the other, are a safetensors file; arrays in C order are not copied.

    Args:
        tensors: arrays by name.
        metadata: free text by key.

    Raises:
        TypeError: a dtype that the format lacks.
    """
    arrays = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in tensors.items()}
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # wide items first keeps all aligned
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    offset, data = 0, []
    for name in order:
        array = arrays[name]
        header[name] = {
            "dtype": _code(name, array),
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
        data.append(array.reshape(-1).view(np.uint8).data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [memoryview(len(text).to_bytes(8, "little") + text), *data]


def unpack(buffer: bytes | bytearray | memoryview) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays that look into the buffer (bfloat16 widened to float32, a copy), and the metadata.

    Raises:
        ValueError: not safetensors, truncated, or a dtype that NumPy lacks.
    """
    view = memoryview(buffer)
    length = int.from_bytes(view[:8], "little")
    if len(view) < 8 or length > min(len(view) - 8, _MAX_HEADER_BYTES):
        raise ValueError("no safetensors header, or a truncated one")
    header = json_of(bytes(view[8 : 8 + length]))
    if not isinstance(header, dict):
        raise ValueError("the safetensors header is no table")
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("the safetensors metadata is no table of texts")
    data = view[8 + length :]
    return {name: _array(name, entry, data) for name, entry in header.items()}, metadata


def read_safetensors(path: Path, most_bytes: int | None = None) -> dict[str, NDArray[Any]]:
    """Arrays of a safetensors file.

    Args:
        path: of the file.
        most_bytes: a larger one is not read; None takes any.

    Raises:
        RecordingError: it is missing, truncated or damaged.
    """
    try:
        return unpack(read_file(path, most_bytes))[0]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecordingError(
            f"not readable as safetensors: {reason}", where=str(path), remedy="write it again, and copy it whole"
        ) from error


def write_safetensors(
    path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file."""
    with path.open("wb") as file:
        file.writelines(pack(tensors, metadata))


def _code(name: str, array: NDArray[Any]) -> str:
    if array.dtype.name not in _NAMES or array.dtype.byteorder == ">":
        raise TypeError(f"tensor {name!r} is {array.dtype}, safetensors has {sorted(_NAMES)}")
    return _NAMES[array.dtype.name]


def _array(name: str, entry: Any, data: memoryview) -> NDArray[Any]:
    try:
        code, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        sound = all(type(number) is int and number >= 0 for number in (*shape, start, end)) and isinstance(code, str)
    except (TypeError, KeyError, ValueError):
        sound = False
    if not sound:
        raise ValueError(f"tensor {name!r} has no dtype, shape and data_offsets as safetensors have them")
    if code != _BFLOAT16 and code not in _DTYPES:
        raise ValueError(f"tensor {name!r} is {code}, which NumPy lacks")
    dtype = np.dtype("<u2") if code == _BFLOAT16 else _DTYPES[code]
    if not 0 <= start <= end <= len(data) or end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"tensor {name!r} has {end - start} bytes at {start}, which do not fit its shape or the file")
    array = np.frombuffer(data[start:end], dtype).reshape(shape)
    return (array.astype(np.uint32) << 16).view(np.float32) if code == _BFLOAT16 else array
