"""Which pictures of a report are missing, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["NO_PICTURE", "missing_pictures"]

NO_PICTURE = "no picture: "  # how the note of such a frame begins
MAX_TOLD = 4  # reasons in a sentence


def missing_pictures(frames: Iterable[Mapping[str, Any]]) -> str:
    """How many pictures of the frames to be pictured are missing and why, in a sentence; empty where all are there."""
    wanted = [f for f in frames if f["pictured"]]
    missing = [f for f in wanted if f.get("picture") is None]
    if not missing:
        return ""
    notes = ((f["case"], str(f.get("note", "not looked for")).removeprefix(NO_PICTURE)) for f in missing)
    reasons = list(dict.fromkeys(f"{case}: {note}" for case, note in notes))
    more = f"; and {len(reasons) - MAX_TOLD} more cases" if len(reasons) > MAX_TOLD else ""
    return f"{len(missing)} of {len(wanted)} pictures are missing. {'; '.join(reasons[:MAX_TOLD])}{more}."
