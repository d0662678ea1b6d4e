"""`trueline model sensitivity`: which block of a network moves the lines when it alone is rounded to fp16?

    reference   fp32 (ort-fp32)
    alone       one group's weights and results rounded, everything else fp32
    without     everything rounded but this group: what keeping it in fp32 would be worth
    whole       everything rounded (emulated-fp16)

Groups are those of `engines.emulated.groups`: every rounding of the whole belongs to just one. What the emulation shows
and cannot show is in docs/engines.md, how to read the table in docs/techniques/evidence.md. Recurrent inputs are zero.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cases.case import find_cases, open_case
from engines.protocol import ModelSource, Tensors
from harness.errors import UsageError
from harness.feed.inputs import spread_frames
from harness.lines.decode import build_decoder
from harness.measures.movement import Movement, Outputs, movement
from harness.model.card import DEFAULT_CACHE, Card
from harness.replay.hooks import Progress, quiet

__all__ = ["GroupSensitivity", "Sensitivity", "sensitivity"]

METHODS = ("fp16", "fp16-fused", "bf16")


@dataclass(frozen=True, slots=True)
class GroupSensitivity:
    """One group of nodes.

    Attributes:
        group: path of a block of modules, "(root)", "(inputs)", or a node's name.
        members: nodes, or inputs.
        alone: only this group rounded.
        without: all but this group rounded; None where it was not asked for.
    """

    group: str
    members: tuple[str, ...]
    alone: Movement
    without: Movement | None


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The groups in the network's order, and everything rounded. `unit`: m or px."""

    method: str
    frames: int
    unit: str
    whole: Movement
    groups: list[GroupSensitivity]


def sensitivity(
    card: Card,
    cases: Iterable[Path],
    *,
    frames: int = 8,
    method: str = "fp16",
    without: bool = True,
    cache: Path = DEFAULT_CACHE,
    progress: Progress | None = None,
) -> Sensitivity:
    """Round group by group.

    Args:
        card: the model.
        cases: case folders, or folders of them; frames go through the deploy pipeline.
        frames: how many, spread evenly over the cases.
        method: fp16, fp16-fused or bf16.
        without: also round everything but each group.
        cache: folder of the export; rewritten graphs are not kept.
        progress: told ("graphs", done, total).

    Raises:
        UsageError: no frame, or an unknown method.
        EngineOptionError: the model's own file is typed fp16 or bf16.
        TruelineError: the model, a case or the decoder cannot be used.
    """
    from engines.emulated import groups
    from engines.export import exported

    if method not in METHODS:
        raise UsageError(f"no method {method!r}", where="--method", remedy=f"it is one of {', '.join(METHODS)}")
    feeds = list(spread_frames(card, [open_case(path) for path in find_cases(cases)], frames))
    if not feeds:
        raise UsageError("there are no frames", where="--cases", remedy="give cases that have frames")
    source = replace(card.source(cache), onnx=exported(card.source(cache), "ort"))
    found, decoder = groups(source), build_decoder(card)
    everything = {member for members in found.values() for member in members}
    wanted: list[tuple[str, ...] | None] = [None, *found.values()]
    wanted += [tuple(sorted(everything - set(members))) for members in found.values()] if without else []
    reference = _run("ort-fp32", source, feeds, None)
    moved = []
    for done, only in enumerate(wanted, start=1):
        moved.append(movement(card.grid, decoder, reference, _run(f"emulated-{method}", source, feeds, only)))
        (progress or quiet)("graphs", done, len(wanted))
    alone, rest = moved[1 : 1 + len(found)], [*moved[1 + len(found) :]] if without else [None] * len(found)
    rows = [GroupSensitivity(*row) for row in zip(found, found.values(), alone, rest, strict=True)]
    return Sensitivity(method, len(feeds), card.grid.unit, moved[0], rows)


def _run(name: str, source: ModelSource, feeds: Sequence[Tensors], only: tuple[str, ...] | None) -> Outputs:
    """An engine's outputs on all frames, stacked; the rewritten graph is deleted afterwards."""
    import engines

    with tempfile.TemporaryDirectory(prefix="trueline-") as folder:
        options = {} if only is None else {"only": only}
        engine = engines.open(name, replace(source, cache=Path(folder)), **options)
        try:
            results = [engine.infer(feed) for feed in feeds]
        finally:
            engine.close()
    if len({tuple(array.shape for array in result.values()) for result in results}) > 1:
        raise UsageError(
            "the frames give outputs of different shapes", where="--cases", remedy="give cases of one picture size"
        )
    return {key: np.stack([result[key] for result in results]) for key in results[0]}
