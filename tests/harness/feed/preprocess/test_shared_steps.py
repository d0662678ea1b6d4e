"""Steps that pipelines have in common run once a picture, and nothing else changes."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases.picture import Picture
from harness.errors import PreprocessError
from harness.feed.preprocess import SharedSteps, build_pipeline, differing_steps, mixed_steps
from harness.feed.preprocess.colour import to_rgb
from harness.feed.preprocess.ops import OPS, Op
from tests.harness.feed.preprocess.test_preprocess_pipeline import DEPLOY, KINDS, TRAIN, picture, spec


def ladder() -> list[list[dict[str, object]]]:
    """Both pipelines, and each with one or two steps of the other."""
    names = differing_steps(TRAIN, DEPLOY)
    swaps = [(n,) for n in names] + list(combinations(names, 2))
    mixed = [mixed_steps(a, b, *s) for a, b in ((TRAIN, DEPLOY), (DEPLOY, TRAIN)) for s in swaps]
    return [TRAIN, DEPLOY, *mixed]


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_are_the_same_bit_for_bit(kind: str) -> None:
    shared = SharedSteps()
    together = [build_pipeline(steps, spec(), shared=shared) for steps in ladder()]
    pictures = [picture(kind)]
    pictures.append(Picture(255 - pictures[0].data, kind, 64, 36))
    for frame in (*pictures, pictures[0]):
        for steps, pipeline in zip(ladder(), together, strict=True):
            np.testing.assert_array_equal(pipeline(frame), build_pipeline(steps, spec())(frame))


def test_a_step_in_common_runs_once_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def counted(picture: Picture, **options: Any) -> object:
        ran.append(options["arithmetic"])
        return to_rgb(picture, **options)

    monkeypatch.setitem(OPS, "to_rgb", Op("colour", counted, "picture"))
    colour, size = {"op": "to_rgb"}, {"op": "resize", "size": [32, 18]}
    others = [[colour, size | {"antialias": True}], [colour, size], [colour | {"step": "c"}, size, {"op": "normalise"}]]
    alone = [[{"op": "to_rgb", "arithmetic": "fixed"}, size]]
    shared = SharedSteps()
    pipelines = [build_pipeline(steps, spec(), shared=shared) for steps in others + alone]
    for frame in (picture(), picture("bgr24")):
        ran.clear()
        for pipeline in pipelines:
            pipeline(frame)
        assert sorted(ran) == ["fixed", "float"]


def test_a_step_of_the_cards_own_is_never_shared_and_spoils_nothing(tmp_path: Path) -> None:
    (tmp_path / "own_steps.py").write_text("def darken(pixels):\n    pixels //= 2\n    return pixels\n")
    before, own, after = {"op": "round_u8"}, {"op": "own_steps:darken"}, {"op": "resize", "size": [32, 18]}
    lists = [[before, own, after], [before, after], [before, own, after | {"antialias": True}]]
    shared = SharedSteps()
    pipelines = [build_pipeline([{"op": "to_rgb"}, *s], spec(), root=tmp_path, shared=shared) for s in lists]
    alone = [build_pipeline([{"op": "to_rgb"}, *s], spec(), root=tmp_path) for s in lists]
    for pipeline, other in zip(pipelines, alone, strict=True):
        np.testing.assert_array_equal(pipeline(picture()), other(picture()))


def test_a_step_that_fails_fails_for_every_pipeline_that_has_it() -> None:
    shared = SharedSteps()
    steps = [{"op": "to_rgb"}, {"op": "channels", "order": [0, 1, 5]}]
    pipelines = [build_pipeline([*steps, {"op": "resize", "size": [32, n]}], spec(), shared=shared) for n in (18, 9)]
    for pipeline in pipelines:
        with pytest.raises(PreprocessError, match="channels"):
            pipeline(picture())
