"""Frames of the cases themselves, as the network gets them: what AutoCast and `trueline model check` measure on.

TensorRT's strong fp16 and bf16 keep nodes in fp32 whose values would not fit, and which those are depends on the
pictures. So a replay hands such an engine at most eight frames of its own cases, through the deploy pipeline, unless
the card gives it a plan or calibration data. Recurrent inputs are zero.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cases.case import Case
from engines.cache import file_sha256, folder_of
from engines.protocol import ModelSource, Tensors
from engines.tensorrt import wants_calibration
from harness.card import Card
from harness.inputs import InputBuilder, cameras_of, initial_state

__all__ = ["calibrated", "spread_frames"]

FRAMES = 8  # AutoCast keeps every activation of every frame in memory


def calibrated(name: str, source: ModelSource, card: Card, cases: Sequence[Case]) -> ModelSource:
    """The model with calibration data for this engine, where it wants some; else as it was.

    Args:
        name: of the engine.
        source: the model.
        card: its card, for the deploy pipeline.
        cases: of the replay.

    Raises:
        CaseError, PreprocessError: a case that cannot be read, or lacks what the card needs.
    """
    if not wants_calibration(name, source):
        return source
    frames = list(spread_frames(card, cases, FRAMES))
    options = {**source.options.get(name, {}), "calibration": str(_written(source.cache, frames).resolve())}
    return replace(source, options={**source.options, name: options})


def spread_frames(card: Card, cases: Sequence[Case], frames: int) -> Iterator[Tensors]:
    """Deploy inputs of at most `frames` frames, spread evenly over the cases and over each case."""
    before = int(any(spec.source == "ego.pose_delta" for spec in card.inputs))
    for index, case in enumerate(cases):
        share = frames // len(cases) + (index < frames % len(cases))
        build, count = InputBuilder(card, case, "deploy"), len(case.frame_numbers)
        for position in np.unique(np.linspace(0, count - 1, share + 2)[1:-1].astype(int)):
            *_, tensors = map(build, case.ticks(cameras_of(card), max(int(position) - before, 0), int(position) + 1))
            yield {**tensors, **initial_state(card)}


def _written(cache: Path, frames: Sequence[Tensors]) -> Path:
    """An npz of arrays (frames, *shape), named by its content; frames of another size than the first are left out."""
    shapes = {name: array.shape for name, array in frames[0].items()}
    alike = [frame for frame in frames if {name: array.shape for name, array in frame.items()} == shapes]
    folder = folder_of(cache, "calibration")
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=folder) as draft:
        file = Path(draft) / "frames.npz"
        stacked = {name: np.stack([frame[name] for frame in alike]) for name in shapes}
        np.savez(file, **stacked)  # type: ignore[arg-type]  # arrays by name; allow_pickle is another argument
        return file.replace(folder / f"{file_sha256(file)[:20]}.npz")
