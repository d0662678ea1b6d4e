"""Rungs of preprocessing in a replay: their factors, and what run.json says of the pipelines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cases.synth import synth_cases
from harness.model.card import load_card
from harness.replay.replay import replay
from harness.run.folder import Run
from tests.harness.replay.bright_model import CARD, write_bright

RESIZE = '{op = "resize", size = [8, 4]}'


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synth_cases(2, 1, 0.2, tmp_path_factory.mktemp("cases"))


def _replayed(folder: Path, cases: list[Path], train: str, deploy: str, **options: object) -> Run:
    """A replay of the model that follows brightness, with the two pipelines written as a card writes them."""
    card = write_bright(folder / "model")
    card.write_text(CARD.partition("[preprocess]")[0] + f"[preprocess]\ntrain = [{train}]\ndeploy = [{deploy}]\n")
    return replay(
        load_card(card), cases, engines=["ort-fp32"], out=folder / "run", cache=folder / "cache", **options,  # type: ignore[arg-type]  # replay's own keywords
    )  # fmt: skip


@pytest.mark.parametrize("steps", [True, False])
def test_the_only_step_that_differs_is_named_by_its_rung_and_in_run_json(
    tmp_path: Path, cases: list[Path], steps: bool
) -> None:
    rest = f'{RESIZE}, {{op = "normalise"}}'
    run = _replayed(tmp_path, cases, f'{{op = "to_rgb"}}, {rest}', f'{{op = "to_bgr"}}, {rest}', steps=steps)
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {r["name"]: r["factors"] for r in run.rungs} == {
        "train/ort-fp32": [],
        "deploy/ort-fp32": ["preprocess:colour"],
    }
    assert [d["words"] for d in told["pipelines"]["image"]["differences"]] == ["colour: to_rgb -> to_bgr"]
    assert [s["op"] for s in told["pipelines"]["image"]["deploy"]] == ["to_bgr", "resize", "normalise"]
    assert told["warnings"] == []


def test_a_resumed_run_tells_the_same_of_its_pipelines(tmp_path: Path, cases: list[Path]) -> None:
    steps = f'{{op = "to_rgb", matrix = "bt709"}}, {RESIZE}, {{op = "normalise"}}'
    first, again = (_replayed(tmp_path, cases, steps, steps) for _ in range(2))
    assert first.meta == again.meta
    assert len(again.meta["warnings"]) == 2
