"""Which pictures of a report are missing, and why."""

from __future__ import annotations

from collections.abc import Mapping

from trueline._text import counted

__all__ = ["NO_PICTURE", "missing_pictures"]

NO_PICTURE = "no picture: "  # how the note of such a frame begins
MAX_TOLD = 4  # reasons in a sentence


def missing_pictures(notes: Mapping[str, str], cases: int) -> str:
    """How many cases have no picture and why, in a sentence; empty where all have.

    Args:
        notes: case -> why it has none, of those that have none.
        cases: how many there are.
    """
    if not notes:
        return ""
    reasons = [f"{case}: {note.removeprefix(NO_PICTURE)}" for case, note in notes.items()]
    more = f"; and {len(reasons) - MAX_TOLD} more" if len(reasons) > MAX_TOLD else ""
    missing = f"{len(reasons)} of {counted(cases, 'case')}"
    return f"The pictures of {missing} are missing. {'; '.join(reasons[:MAX_TOLD])}{more}."
