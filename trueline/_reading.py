"""Reading what users name: files and nothing else, and texts whose nesting ends no process.

A path may be a named pipe, on which a reader waits for ever, or a link to a device that never ends (/dev/zero). Opening
some devices does something. So only regular files are opened, and links to them. Everything here raises OSError or
ValueError, and no other exception; callers add which file it was.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import tomllib
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

__all__ = ["MOST_TOML_BYTES", "TooLarge", "json_of", "open_file", "read_file", "read_toml", "regular", "toml_of"]

MOST_TOML_BYTES = 16 * 2**20
_KINDS = {
    stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a named pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}  # fmt: skip


class TooLarge(OSError):
    """A file of more bytes than its reader takes."""


def regular(path: Path) -> Path:
    """The path, which is a file or a link to one.

    Raises:
        OSError: there is nothing, or a folder, a named pipe, a socket or a device.
    """
    _check(path.stat().st_mode, path)
    return path


def open_file(path: Path, buffering: int = -1) -> BufferedReader:
    """A file, open for reading bytes; never waits for whoever may write to it.

    Raises:
        OSError: as `regular`, or it may not be read.
    """
    regular(path)
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    try:
        _check(os.fstat(handle).st_mode, path)  # it may have become another one
        return cast(BufferedReader, os.fdopen(handle, "rb", buffering))
    except BaseException:
        os.close(handle)
        raise


def read_file(path: Path, most_bytes: int | None = None) -> bytes:
    """The bytes of a file.

    Args:
        path: of the file.
        most_bytes: a larger file is not read; None takes any.

    Raises:
        OSError: as `open_file`; TooLarge.
    """
    with open_file(path) as file:
        data = file.read() if most_bytes is None else file.read(most_bytes + 1)
    if most_bytes is not None and len(data) > most_bytes:
        raise TooLarge(errno.EFBIG, f"it has more than {most_bytes / 2**20:.0f} MiB", str(path))
    return data


def read_toml(path: Path) -> dict[str, Any]:
    """The table of a TOML file.

    Raises:
        OSError: as `read_file`.
        ValueError: no TOML, or nested too deep.
    """
    return toml_of(read_file(path, MOST_TOML_BYTES))


def toml_of(data: bytes) -> dict[str, Any]:
    """The table of a TOML text.

    Raises:
        ValueError: no TOML, or nested too deep.
    """
    text = data.decode("utf-8").replace("\r\n", "\n")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def json_of(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: no JSON, or nested too deep.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _check(mode: int, path: Path) -> None:
    for is_kind, kind in _KINDS.items():
        if is_kind(mode):
            raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
