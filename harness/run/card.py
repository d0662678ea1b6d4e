"""The model card of a run, as it was when the run was made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.sealed import file_sha256
from harness.errors import RunError

if TYPE_CHECKING:
    from harness.model.card import Card

__all__ = ["card_of_run"]


def card_of_run(meta: Mapping[str, Any]) -> Card:
    """The card that a run was made with.

    Args:
        meta: run.json.

    Raises:
        RunError: it is not where it was, or was changed after the replay.
        CardError: it cannot be read.
    """
    from harness.model.card import load_card

    said = meta.get("card") or {}
    path = Path(str(said.get("path", "")))
    if not path.is_file():
        raise RunError(
            "the model card is not where it was", where=str(path), remedy="put it there again, or replay anew"
        )
    if file_sha256(path) != said.get("sha256"):
        raise RunError("the model card was changed after the replay", where=str(path), remedy="replay again")
    return load_card(path)
