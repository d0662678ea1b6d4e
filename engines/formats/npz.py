"""Archives of `numpy.savez`; objects in them are refused."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import first_line
from engines.errors import RecordingError

__all__ = ["npz"]


@contextmanager
def npz(file: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """An open archive; an array is read when it is asked for, and whatever is wrong with it becomes one line."""
    try:
        with file.open("rb") as stream:  # numpy.load leaves a file open that it cannot read
            arrays = np.load(stream, allow_pickle=False)
            if not hasattr(arrays, "files"):
                raise ValueError("a single array, not an archive of named ones")
            with arrays:
                yield arrays
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = first_line(error) if zipfile.is_zipfile(file) else "no zip archive, or a truncated one"
        raise RecordingError(
            f"not readable as .npz: {reason}", where=str(file), remedy="dump it again with numpy.savez, without pickles"
        ) from error
