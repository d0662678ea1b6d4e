"""Warnings of a run: what run.json tells beside the tables, because no number in them would."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RunWarning"]


@dataclass(frozen=True, slots=True)
class RunWarning:
    """One remark; `warnings` of run.json is a list of these as objects.

    Attributes:
        kind: `pipeline` (a recording contradicts the card), `batch-rows` (an engine's rows of a batch are not its
            frames alone), `case-not-run` (a rung began some cases only), `no-lines` (a rung drew no line at all),
            `unconfirmed` (the card says of one of its parts that it is a guess),
            `recording` (a dump, or frames of one, that nobody compared, or times that were moved), `damaged` (tables
            or parts that were not what a replay had written, and were made anew).
        text: one sentence.
        rung: which rung it is about; None where it is not about one.
        case: which case; None where it is about all.
    """

    kind: str
    text: str
    rung: str | None = None
    case: str | None = None
