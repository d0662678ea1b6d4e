"""Paths of the ladder, and the rungs that show one factor by itself."""

from __future__ import annotations

from pathlib import Path

from harness.ladder import explain
from harness.ladder.tree import Tree
from tests.harness.ladder.ladder_run import ROOT, bends, make_run

TORCH, ORT = "deploy/torch-fp32", "deploy/ort-fp32"


def _tree(folder: Path, **ladder: object) -> Tree:
    run = make_run(folder, **ladder)  # type: ignore[arg-type]  # its own keywords
    return Tree(run.rungs, run.reference)


def test_the_only_step_that_differs_is_shown_by_the_deploy_rung_itself(tmp_path: Path) -> None:
    tree = _tree(tmp_path, steps=("resize",))
    assert tree.alone(ORT)[0] == ("preprocess:resize", TORCH, ROOT)
    assert tree.nodes[TORCH].stage == "preprocess"


def test_the_only_step_that_differs_is_blamed_by_its_name(tmp_path: Path) -> None:
    run = make_run(tmp_path, bend=bends({TORCH: 0.4}), steps=("resize",))
    (anomaly,) = explain(run, ()).anomalies
    assert (anomaly.first, anomaly.stage, anomaly.factor) == (TORCH, "preprocess", "preprocess:resize")
    assert [a.factor for a in anomaly.alone] == ["preprocess:resize"]
