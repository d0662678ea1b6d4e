"""The clips of a report, case by case, the worst first: lines, series, pictures, tensors, within a budget of bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from harness.report.budget import Budget
from harness.report.clip import Moment, frames_of_case, lines_of_case, packed_lines, stretches_kept
from harness.report.finding import Tables, WorstFrame
from harness.report.mark import mark_of
from harness.report.packing import packed, quantum_of
from harness.report.pictures import Pictures, pictures_of
from harness.report.recordings import NO_PICTURE
from harness.report.series import case_series
from harness.report.tensors import inputs_of, tensor_views
from harness.run.facts import CaseFact, RunFacts
from harness.run.recordings import Recordings
from trueline import TruelineError
from trueline._text import counted

__all__ = ["ClipMaker", "Made", "findings_of_page", "omissions"]

LINES_SHARE = 0.45  # of a case's bytes that lines and series may take
TENSOR_SHARE = 0.12
TENSOR_FRAMES = 4
_EXACT = 2**53  # of numbers in a script


@dataclass
class Made:
    """One clip and what was left out of it.

    Attributes:
        case: its id.
        clip: for the page.
        frames, kept: of the case, and in the file.
        pictures, left_out: in the file, and frames kept without one.
        note: why it has no picture at all.
    """

    case: str
    clip: dict[str, Any]
    frames: int
    kept: int
    pictures: int
    left_out: int
    note: str = ""


@dataclass
class ClipMaker:
    """Makes the clip of one case after the other.

    Attributes:
        run, facts, recordings: what they are made of.
        shown: the frames of findings and of cases without, as the page has them, by case.
        views: their views, in which places among the frames of a case are filled in.
    """

    run: Tables
    facts: RunFacts
    recordings: Recordings
    shown: Mapping[str, Sequence[WorstFrame]]
    views: Mapping[str, Sequence[dict[str, Any]]]
    _lines: dict[str, pl.DataFrame] = field(default_factory=dict)

    def lines(self, case: str) -> pl.DataFrame:
        """Lines of a case; those of the last one asked for are kept."""
        if case not in self._lines:
            self._lines = {case: lines_of_case(self.run, case, self.facts.ladder)}
        return self._lines[case]

    def make(self, case: CaseFact, most: int) -> Made:
        """The clip of a case in at most so many bytes, or a little more: its worst moment is always there."""
        recording, note = None, ""
        try:
            recording = self.recordings.open(case.id)
        except TruelineError as error:
            note = f"{NO_PICTURE}{error.what} ({error.where}); {error.remedy}"
        rows = self.lines(case.id)
        frames = frames_of_case(self.run, case.id, recording.frame_numbers.tolist() if recording is not None else ())
        moments = [Moment(f.frame, f.frame_start, f.frame_end) for f in self.shown.get(case.id, ())]
        each = max(1, round(LINES_SHARE * most))
        data, kept = self._packed(case, rows, frames, moments, recording, each)
        wanted = _picture_order(kept.tolist(), moments)
        pictures, tensor_note = Pictures(note=note), ""
        tensors: dict[str, Any] = {}
        if recording is not None:
            try:
                tensors, tensor_note = self._tensors(recording, case.id, int(TENSOR_SHARE * most))
                left = most - len(data) - _size(tensors)
                pictures = pictures_of(recording, self.facts, wanted, max(left, 0))
            except TruelineError as error:
                pictures.note = f"{NO_PICTURE}{error.what} ({error.where}); {error.remedy}"
        clip = pictures.to_json() | {"packed": data, "tensors": tensors, "tensorNote": tensor_note}
        return Made(case.id, clip, len(frames), len(kept), len(pictures.encoded), pictures.left_out, pictures.note)

    def _packed(
        self, case: CaseFact, rows: pl.DataFrame, frames: Any, moments: Sequence[Moment], recording: Any, most: int
    ) -> tuple[str, Any]:
        """Lines, truth and series; fewer frames and points where they would be too many bytes."""
        facts, fps = self.facts, case.fps or 1.0
        reference = facts.ladder.index(facts.reference) if facts.reference in facts.ladder else 0
        truth = recording.truth() if recording is not None else None
        keep, points = len(frames), 1600
        data, kept = "", frames
        for _ in range(6):
            kept = stretches_kept(frames, moments, max(keep, 1), fps)
            series, streams = case_series(
                self.run, case.id, rows, frames, fps=fps, rungs=facts.ladder, reference=facts.reference,
                grid=facts.grid, quantum=quantum_of(facts.length_unit), max_points=points,
            )  # fmt: skip
            lines = packed_lines(rows, kept, reference, quantum_of(facts.length_unit)).streams(reference)
            head = self._head(case, frames, kept, series)
            if truth is not None and truth.height:
                unit = "m" if recording.meta.truth_frame == "vehicle" else "px"
                true = packed_lines(truth.with_columns(place=pl.lit(0, pl.Int64)), kept, 0, quantum_of(unit))
                lines |= {f"truth.{name}": stream for name, stream in true.streams(0).items()}
                head["truthQuantum"] = quantum_of(unit)
            data = packed(head, lines | streams)
            if len(data) <= most or (keep <= 1 and points <= 100):
                break
            shrink = 0.85 * most / len(data)
            keep, points = max(1, int(len(kept) * shrink)), max(100, int(points * shrink) // 2 * 2)
        self._fill_places(case.id, frames)
        return data, kept

    def _head(self, case: CaseFact, frames: Any, kept: Any, series: Mapping[str, Any]) -> dict[str, Any]:
        places = np.searchsorted(frames, kept)
        whole = len(kept) == len(frames)
        told = (
            "" if whole else f"this file holds {len(kept)} of its {len(frames)} frames, those about its worst findings"
        )
        return {
            "quantum": quantum_of(self.facts.length_unit), "truthQuantum": 0.001, "length": len(frames),
            "fps": case.fps, "frames": [exact(f) for f in kept.tolist()], "places": places.tolist(), "told": told,
            "seconds": [round(p / case.fps, 4) if case.fps else None for p in places.tolist()], **series,
        }  # fmt: skip

    def _fill_places(self, case: str, frames: Any) -> None:
        """Where the findings of a case stand among its frames: first, worst, last."""
        for view, found in zip(self.views.get(case, ()), self.shown.get(case, ()), strict=True):
            ends = np.searchsorted(frames, [found.frame_start, found.frame, found.frame_end])
            view["places"] = np.clip(ends, 0, max(len(frames) - 1, 0)).tolist()

    def _tensors(self, recording: Any, case: str, most: int) -> tuple[dict[str, Any], str]:
        from harness.report.pictures import camera_of

        made_by = inputs_of(self.facts)
        parent = {r.name: r.parent for r in self.facts.rungs.values()}
        wanted = []
        for found in self.shown.get(case, ()):
            names = (self.facts.reference, parent.get(found.first), found.first, found.rung)
            first = [made_by[n] for n in names if n in made_by]
            wanted.append((found.frame, list(dict.fromkeys(first))))
        return tensor_views(recording, camera_of(recording, self.facts.meta), self.facts, wanted[:TENSOR_FRAMES], most)


def findings_of_page(chosen: Sequence[WorstFrame], maker: ClipMaker) -> None:
    """Fill in the marks of the findings shown, case by case."""
    views = {id(f): v for case, found in maker.shown.items() for f, v in zip(found, maker.views[case], strict=True)}
    for found in sorted(chosen, key=lambda f: f.case):
        mark = mark_of(found, maker.lines(found.case), maker.facts.reference, maker.facts.grid)
        views[id(found)]["mark"] = mark.to_json()


def clips(maker: ClipMaker, cases: Sequence[CaseFact], most: int) -> Iterator[Made]:
    """The clips of cases, worst first, within a number of bytes."""
    budget = Budget(most, len(cases))
    for case in cases:
        made = maker.make(case, budget.share())
        budget.spend(_size(made.clip))
        yield made


def omissions(made: Sequence[Made]) -> str:
    """What is not in the file for want of room, in a sentence; empty where all is."""
    frames = sum(m.frames - m.kept for m in made)
    pictures = sum(m.left_out for m in made)
    parts = []
    if frames:
        cases = sum(m.kept < m.frames for m in made)
        parts.append(f"{frames} of {sum(m.frames for m in made)} frames of {counted(cases, 'case')}")
    if pictures:
        parts.append(f"the pictures of {pictures} of {sum(m.kept for m in made)} frames")
    return f"Left out to keep this file small, the worst findings last: {' and '.join(parts)}." if parts else ""


def exact(number: int) -> int | str:
    """A frame's number as a script can hold it without rounding it."""
    return number if abs(number) <= _EXACT else str(number)


def _picture_order(kept: Sequence[int], moments: Sequence[Moment]) -> list[int]:
    """Frames by how much their picture is wanted: worst frames, a thinned clip, then the stretches about the worst."""
    have = set(kept)
    order = [m.frame for m in moments if m.frame in have]
    for moment in moments[:3]:
        order += sorted(kept, key=lambda f, m=moment: (not m.start - 5 <= f <= m.end + 5, abs(f - m.frame)))  # type: ignore[misc]  # mypy has no type for the bound moment
    return list(dict.fromkeys([*order, *kept]))


def _size(value: Any) -> int:
    """Characters of texts in nested data: what is large of a clip."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_size(v) + len(str(k)) + 6 for k, v in value.items())
    if isinstance(value, list | tuple):
        return sum(_size(v) + 2 for v in value)
    return 8
