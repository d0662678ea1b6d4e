"""What trtexec writes: `--exportOutput` (JSON, rounded) and `--dumpRawBindingsToFile` (bytes, exact).

JSON: `[{"name": "lines", "dimensions": "1x4x33", "values": [...]}]`. Values have six significant digits, so two float32
outputs that differ in their last two digits look the same; not-a-number and infinity stand there bare, as C++ prints
them (`nan`, `-nan`, `inf`, `-inf`), which is no JSON. The type is not in it; all is read as float32.

Raw: one file a tensor, `<name>.<input|output>.<1.4.33>.<type>.raw`; signs of the name that a file name could not have
are underscores.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import RecordingError
from trueline._reading import TooLarge, json_of, read_file

__all__ = [
    "SIX_DIGITS",
    "RawName",
    "outputs_of_json",
    "parse_json",
    "raw_array",
    "raw_name",
    "read_raw_folder",
    "safe_name",
]

SIX_DIGITS = "trtexec --exportOutput writes six significant digits: differences below 1e-6 of a value are not seen"

_BARE = re.compile(r'"(?:\\.|[^"\\])*"|-?\b(?:nan|inf)\b')
_WORDS = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_RAW = re.compile(r"(?P<name>.+)\.(?P<kind>input|output)\.(?P<dims>\d+(?:\.\d+)*)?\.(?P<dtype>\w+)\.raw")
_TYPES = {
    "fp32": "<f4", "float32": "<f4", "float": "<f4", "fp16": "<f2", "float16": "<f2", "half": "<f2", "float64": "<f8",
    "double": "<f8", "bf16": "<u2", "bfloat16": "<u2", "int8": "<i1", "uint8": "<u1", "int16": "<i2", "uint16": "<u2",
    "int32": "<i4", "uint32": "<u4", "int64": "<i8", "uint64": "<u8", "bool": "?",
}  # fmt: skip


def parse_json(text: str) -> Any:
    """JSON in which nan and inf may stand bare.

    Raises:
        ValueError: it is no JSON even so.
    """
    try:
        return json_of(text)
    except ValueError:
        return json_of(_BARE.sub(lambda match: _WORDS.get(match[0], match[0]), text))


def outputs_of_json(content: Any, where: str) -> dict[str, NDArray[np.float32]]:
    """Outputs of a parsed `--exportOutput`.

    Raises:
        RecordingError: it has not that form, or a tensor has not as many values as its dimensions say.
    """
    outputs = {}
    for entry in content:
        try:
            name, values = str(entry["name"]), np.array(entry["values"], np.float64)
            text = str(entry["dimensions"])
            shape = tuple(int(d) for d in text.split("x")) if text else ()
            if any(size < 0 for size in shape):
                raise ValueError(text)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise RecordingError(
                "no entry of `trtexec --exportOutput`: it needs name, dimensions like '1x4x33', and numbers as values",
                where=where,
                remedy="export it again with --exportOutput=FILE",
            ) from error
        if values.shape != (math.prod(shape),):
            raise RecordingError(
                f"output {name!r} has {values.size} values, its dimensions {text} ask for {math.prod(shape)}",
                where=where,
                remedy="export it again; copy the file whole",
            )
        outputs[name] = values.astype(np.float32).reshape(shape)
    return outputs


@dataclass(frozen=True, slots=True)
class RawName:
    """What the name of a raw dump tells."""

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str


def raw_name(path: Path) -> RawName:
    """Take the name of a raw dump apart.

    Raises:
        RecordingError: it is not built that way, or its type is unknown.
    """
    match = _RAW.fullmatch(path.name)
    if match is None or match["dtype"] not in _TYPES:
        raise RecordingError(
            "the name tells neither shape nor type" if match is None else f"unknown type {match['dtype']!r}",
            where=str(path),
            remedy=f"name it <name>.output.<dims joined by .>.<type>.raw, the type one of {sorted(_TYPES)}",
        )
    shape = tuple(int(d) for d in match["dims"].split(".")) if match["dims"] else ()
    return RawName(match["name"], match["kind"], shape, match["dtype"])


def raw_array(path: Path, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Little-endian bytes in C order as an array; bfloat16 is widened to float32.

    Raises:
        RecordingError: the file is missing, or has not as many bytes as shape and type ask for.
    """
    kind = np.dtype(_TYPES[dtype])
    try:
        wanted = math.prod(shape) * kind.itemsize
        data = read_file(path, wanted)
    except OSError as error:
        longer = (
            f"{path.stat().st_size} bytes, {dtype} {list(shape)} has {wanted}" if isinstance(error, TooLarge) else ""
        )
        raise RecordingError(
            longer or f"not readable: {error.strerror}",
            where=str(path),
            remedy="give it the shape and type it has" if longer else "write the tensor there",
        ) from error
    if len(data) < wanted:
        raise RecordingError(
            f"{len(data)} bytes, {dtype} {list(shape)} has {wanted}",
            where=str(path),
            remedy="dump it again and copy it whole",
        )
    array = np.frombuffer(data, kind).reshape(shape)
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype in ("bf16", "bfloat16") else array


def read_raw_folder(folder: Path, wanted: Iterable[str] = ()) -> Mapping[str, NDArray[Any]]:
    """Outputs of a folder of raw dumps; the inputs beside them only where they are asked for by name.

    Args:
        folder: of one frame.
        wanted: true names, for files whose names had to be changed to be file names.

    Raises:
        RecordingError: a name that does not say what it is, a wrong length, or one output in two files.
    """
    true = {safe_name(name): name for name in wanted}
    outputs: dict[str, NDArray[Any]] = {}
    for path in sorted(folder.glob("*.raw")):
        told = raw_name(path)
        if told.kind == "output" or told.name in true:
            name = true.get(told.name, told.name)
            if name in outputs:
                raise RecordingError(
                    f"output {name!r} stands in two files", where=str(path), remedy="keep one frame in a folder"
                )
            outputs[name] = raw_array(path, told.shape, told.dtype)
    return outputs


def safe_name(name: str) -> str:
    """A tensor's name as trtexec writes it in file names."""
    return re.sub(r"[^A-Za-z0-9._,-]", "_", name)
