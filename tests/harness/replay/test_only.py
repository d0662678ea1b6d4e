from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cases.case import open_case
from cases.synth import synth_cases
from harness.errors import RunError, UsageError
from harness.model.card import Card, load_card
from harness.replay.only import only_these
from harness.replay.replay import replay
from tests.harness.tiny_model import write_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return load_card(write_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synth_cases(3, 2, 0.6, tmp_path_factory.mktemp("cases"))


def test_frames_replayed_alone_have_the_numbers_of_the_whole_replay(
    tiny: Card, folders: list[Path], tmp_path: Path
) -> None:
    name = open_case(folders[1]).id
    whole = replay(tiny, folders, engines=("ort-fp32",), out=tmp_path / "whole", cache=tiny.root / "cache")
    part = replay(
        tiny,
        folders,
        engines=("ort-fp32",),
        out=tmp_path / "part",
        only=(f"{name}:4-7",),
        cache=tiny.root / "cache",
    )
    for table in ("lines", "line_metrics", "frame_metrics"):
        wanted = whole.read(table).filter(pl.col("case") == name, pl.col("frame").is_between(4, 7))
        found = part.read(table)
        assert found.height == wanted.height > 0
        shared = [c for c in found.columns if c not in ("line", "track")]
        assert found.select(shared).equals(wanted.select(shared))
    assert set(part.read("accuracy")["frames"].to_list()) <= {4}


def test_some_frames_are_another_run(tiny: Card, folders: list[Path], tmp_path: Path) -> None:
    name = open_case(folders[0]).id
    kept = {"engines": ("ort-fp32",), "preprocess": ("train",), "out": tmp_path, "cache": tiny.root / "cache"}
    replay(tiny, folders, only=(f"{name}:0-1",), **kept)  # type: ignore[arg-type]  # a dict of several types
    with pytest.raises(RunError, match="another run"):
        replay(tiny, folders, only=(f"{name}:0-2",), **kept)  # type: ignore[arg-type]  # as above


def test_a_model_with_a_state_begins_at_the_first_frame(folders: list[Path]) -> None:
    case = open_case(folders[0])
    (cut,) = only_these([case], [f"{case.id}:4-7"], stateful=True)
    np.testing.assert_array_equal(cut.frame_numbers, np.arange(8))


def test_a_case_alone_is_whole(folders: list[Path]) -> None:
    cases = [open_case(f) for f in folders]
    (kept,) = only_these(cases, [cases[1].id], stateful=False)
    assert kept is cases[1]


@pytest.mark.parametrize("text", ["nowhere", "nowhere:1-2", "{0}:x", "{0}:90-99", "{0}:7-4", ":1-2", "{0}:"])
def test_what_is_not_there_is_refused_in_one_line(folders: list[Path], text: str) -> None:
    case = open_case(folders[0])
    with pytest.raises(UsageError) as caught:
        only_these([case], [text.format(case.id)], stateful=False)
    assert "\n" not in str(caught.value)


def test_a_case_named_twice_is_refused(folders: list[Path]) -> None:
    case = open_case(folders[0])
    with pytest.raises(UsageError, match="twice"):
        only_these([case], [case.id, f"{case.id}:1-2"], stateful=False)
