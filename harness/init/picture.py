"""Lines of the first trial frames, drawn on the recorded pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cases.case import Case
from harness.errors import ReportError
from harness.lines.decode import build_decoder
from harness.lines.table import LineTable
from harness.model.card import Card
from harness.replay.decoding import decode_frames
from harness.report.contact_sheet import Layer, draw_sheet

__all__ = ["draw_first_frames", "first_lines"]


def first_lines(card: Card, cases: Sequence[Case], given: Sequence[Mapping[str, Any]]) -> dict[str, LineTable]:
    """Lines of frames spread over the cases, by case, with the cases' frame numbers.

    Args:
        card: of the decoder.
        cases: recordings.
        given: outputs of their frames, as `harness.init.trials.outputs_on` gives them.

    Raises:
        DecoderError: the decoder does not read the outputs.
    """
    kept = [o.name for o in card.outputs]
    stacked = {name: np.stack([frame[name] for frame in given]) for name in kept if name in given[0]}
    decoded = decode_frames(build_decoder(card), stacked, np.arange(len(given)))
    if decoded.error is not None:
        raise decoded.error
    numbers = [(case.id, int(case.frame_numbers[place])) for case, place in _places(cases, len(given))]
    found: dict[str, LineTable] = {}
    for case in cases:
        own = [i for i, (name, _) in enumerate(numbers) if name == case.id]
        table = decoded.lines.take(np.isin(decoded.lines.frame, own))
        frames = np.array([numbers[i][1] for i in table.frame], np.int64)
        found[case.id] = replace(table, frame=frames)
    return found


def _places(cases: Sequence[Case], frames: int) -> list[tuple[Case, int]]:
    """Which frames `harness.feed.inputs.spread_frames` takes, as (case, position)."""
    places = []
    for index, case in enumerate(cases):
        share = frames // len(cases) + (index < frames % len(cases))
        count = len(case.frame_numbers)
        places += [(case, int(p)) for p in np.unique(np.linspace(0, count - 1, share + 2)[1:-1].astype(int))]
    return places


def draw_first_frames(
    card: Card, cases: Sequence[Case], lines: Mapping[str, LineTable], out: Path
) -> tuple[Path | None, str]:
    """Draw the trial frames with their lines into one PNG; (file, "") or (None, why not)."""
    steps = [dict(step) for step in card.preprocess.deploy]
    try:
        for case in cases[:1]:
            layer = Layer(card.decoder.name, (0, 200, 0), card.grid, lines[case.id], steps)
            frames = sorted(set(lines[case.id].frame.tolist())) or [int(case.frame_numbers[0])]
            draw_sheet(case, case.cameras[0], [layer], frames, out)
    except ReportError as error:
        return None, error.what
    return out, ""
