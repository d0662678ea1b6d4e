"""Rungs of preprocessing in a replay: their factors, and what run.json says of the pipelines."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from cases.synth import synth_cases
from harness.ladder.tree import Tree
from harness.model.card import load_card
from harness.replay.replay import replay
from harness.run.facts import read_facts
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


MASKED = """import numpy as np


def darken(pixels):
    return pixels // 2 if pixels.dtype == np.uint8 else pixels


def fussy(pixels):
    if pixels.dtype != np.uint8:
        raise TypeError("8-bit pixels only")
    return pixels
"""


def _biases(run: Run) -> dict[str, float]:
    """Largest offset of each rung against the root, metres."""
    table = run.read("line_metrics").filter(reference=run.reference).group_by("rung").agg(pl.col("offset_max").max())
    return dict(table.rows())


def test_a_fault_that_acts_only_among_the_cars_own_steps_is_shown_by_taking_it_out(
    tmp_path: Path, cases: list[Path]
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "masked_steps.py").write_text(MASKED)
    run = _replayed(
        tmp_path, cases, f'{{op = "to_rgb"}}, {RESIZE}, {{op = "normalise"}}',
        f'{{op = "to_rgb"}}, {RESIZE}, {{op = "round_u8"}}, {{op = "masked_steps:darken"}}, {{op = "normalise"}}',
    )  # fmt: skip
    tree, moved = Tree(read_facts(run.meta).rungs.values(), run.reference), _biases(run)
    car = "deploy/ort-fp32"
    assert moved[car] > 0.1
    alone = {factor: moved[with_it] for factor, with_it, _ in tree.alone(car)}
    left = {factor: moved[without_it] for factor, _, without_it in tree.without(car)}
    assert alone == pytest.approx({"preprocess:round": 0, "preprocess:darken": 0}, abs=0.01)
    assert left["preprocess:darken"] == pytest.approx(0, abs=0.01)


def test_a_step_that_cannot_be_swapped_costs_only_its_rung(tmp_path: Path, cases: list[Path]) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "masked_steps.py").write_text(MASKED)
    run = _replayed(
        tmp_path, cases, f'{{op = "to_rgb"}}, {RESIZE}, {{op = "normalise"}}',
        f'{{op = "to_bgr"}}, {RESIZE}, {{op = "round_u8"}}, {{op = "masked_steps:fussy"}}, {{op = "normalise"}}',
    )  # fmt: skip
    rungs = {r["preprocess"]: r for r in run.rungs}
    assert {p for p, r in rungs.items() if r["status"] != "ok"} == {"train+fussy", "deploy-round"}
    assert rungs["train+fussy"]["reason"].endswith("8-bit pixels only")
    assert rungs["train+round+fussy"]["factors"] == ["preprocess:round+fussy"]
    assert "train+fussy/ort-fp32" not in _biases(run)
    tree = Tree(read_facts(run.meta).rungs.values(), run.reference)
    listed = {
        rung for triple in (*tree.alone("deploy/ort-fp32"), *tree.without("deploy/ort-fp32")) for rung in triple[1:]
    }
    assert listed <= set(_biases(run)) | {run.reference}


def test_steps_that_only_go_together_do_not_end_the_run(tmp_path: Path, cases: list[Path]) -> None:
    lab = '{op = "to_rgb"}, {op = "resize", size = [8, 6]}, {op = "crop", box = [0, 1, 8, 4]}, {op = "normalise"}'
    car = '{op = "to_rgb"}, {op = "letterbox", step = "resize", size = [8, 4]}, {op = "normalise"}'
    run = _replayed(tmp_path, cases, lab, car)
    assert {r["name"]: r["factors"] for r in run.rungs if r["status"] == "ok"} == {
        "train/ort-fp32": [],
        "deploy/ort-fp32": ["preprocess:resize+crop"],
    }
    assert {r["name"] for r in run.rungs if r["status"] == "not_run"} == {
        f"{p}{s}/ort-fp32" for p in ("train+", "deploy-") for s in ("resize", "crop")
    }
    assert Tree(read_facts(run.meta).rungs.values(), run.reference).alone("deploy/ort-fp32") == [
        ("preprocess:resize+crop", "deploy/ort-fp32", "train/ort-fp32")
    ]
    assert Run.open(tmp_path / "run").rungs == run.rungs
