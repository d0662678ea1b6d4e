"""What the machine refuses: no room on the disk, a folder that may not be written, no memory, no more open files.

Such a thing may meet any line of ours or of a library's, so it is told in one place, at the top of a command: it is
neither bad input nor a bug.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from trueline._errors import TruelineError

__all__ = ["MachineError", "machine_error"]

_REMEDIES = {
    errno.ENOSPC: "free some space, or write elsewhere",
    errno.EDQUOT: "free some space, or write elsewhere",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or write elsewhere",
    errno.EROFS: "write elsewhere: that disk is read-only",
    errno.EACCES: "see to the rights of that file or folder, or choose another",
    errno.EPERM: "see to the rights of that file or folder, or choose another",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs: the machine has no more open files",
    errno.EIO: "see to the disk: it cannot be read or written there",
    errno.ENOMEM: "close other programs, or use a machine with more memory",
    errno.EAGAIN: "close other programs: the machine starts no more processes or threads",
}
# how libraries in Rust (Polars, safetensors) pass an error of the system on
_TOLD = re.compile(r"\(os error (\d+)\)|Os \{ code: (\d+)")
_NOT_MAPPED = "failed to map segment"  # how the loader of shared libraries says that there is no memory for one


class MachineError(TruelineError):
    """The machine refused something: room, rights, memory, open files."""


def machine_error(error: BaseException) -> MachineError | None:
    """The one line of what the machine refused, where that is behind an exception; else None."""
    for link in _chain(error):
        if isinstance(link, MemoryError):
            return MachineError(
                f"out of memory{f': {link}' if str(link) else ''}",
                where="this process",
                remedy=_REMEDIES[errno.ENOMEM],
            )
        number = _number(link)
        if number in _REMEDIES:
            names = [name for name in (getattr(link, "filename", None), getattr(link, "filename2", None)) if name]
            said = getattr(link, "strerror", None) or str(link)
            return MachineError(said, where=" -> ".join(map(str, names)) or "this machine", remedy=_REMEDIES[number])
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    for _ in range(10):
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


def _number(error: BaseException) -> int:
    """The system's number of an error; 0 where there is none."""
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):
        return errno.ENOSPC  # what Python's tempfile says where none of its folders can be written
    if isinstance(error, OSError) and error.errno:
        return error.errno
    of_a_library = isinstance(error, OSError) or type(error).__module__ != "builtins"
    told = _TOLD.search(str(error)) if of_a_library else None
    if told is None:
        return errno.ENOMEM if isinstance(error, ImportError) and _NOT_MAPPED in str(error) else 0
    return int(told[1] or told[2])
