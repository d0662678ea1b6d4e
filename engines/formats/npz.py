"""Archives of `numpy.savez`; objects in them are refused, and so is one that unpacks to more than its reader takes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from engines.base import first_line
from engines.errors import RecordingError
from engines.foreign import outside
from engines.formats.npy import npy
from trueline._reading import open_file

__all__ = ["Archive", "npz"]

_SUFFIX = ".npy"


class Archive(Mapping[str, NDArray[Any]]):
    """The arrays of an archive by name, each read when it is asked for.

    Args:
        file: the archive.
        where: its name, for messages.
        most_bytes: of one array; None takes any.

    Raises:
        RecordingError: no archive. Also when an array is asked for that is damaged, too large or holds objects.
    """

    def __init__(self, file: IO[bytes], where: str, most_bytes: int | None = None) -> None:
        self._where, self._most_bytes = where, most_bytes
        with outside(lambda cause: self._wrong("no zip archive, or a truncated one")):
            self._zip = zipfile.ZipFile(file)
            self._members = {i.filename.removesuffix(_SUFFIX): i for i in self._zip.infolist()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        member = self._members[name]
        if self._most_bytes is not None and member.file_size > self._most_bytes:
            raise self._wrong(f"{member.filename} unpacks to {member.file_size / 2**20:.0f} MiB")
        with outside(lambda cause: self._wrong(f"{member.filename}: {cause}")):
            data = self._zip.read(member)
        try:
            return npy(data)
        except ValueError as error:
            raise self._wrong(f"{member.filename}: {first_line(error)}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def close(self) -> None:
        """Give the file back."""
        self._zip.close()

    def _wrong(self, reason: str) -> RecordingError:
        return RecordingError(
            f"not readable as .npz: {reason}",
            where=self._where,
            remedy="dump it again with numpy.savez, without pickles",
        )


@contextmanager
def npz(file: Path, most_bytes: int | None = None) -> Iterator[Mapping[str, NDArray[Any]]]:
    """An open archive; an array is read when it is asked for, and whatever is wrong with it becomes one line."""
    try:
        stream = open_file(file)
    except OSError as error:
        raise RecordingError(
            f"not readable as .npz: {error.strerror}", where=str(file), remedy="dump it again with numpy.savez"
        ) from error
    with stream:
        archive = Archive(stream, str(file), most_bytes)
        try:
            yield archive
        finally:
            archive.close()
