"""Paths of the ladder, and the rungs that show one factor by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.ladder import explain
from harness.ladder.tree import Tree
from harness.run.facts import read_facts
from tests.harness.ladder.ladder_run import ROOT, bends, make_run

TORCH, ORT = "deploy/torch-fp32", "deploy/ort-fp32"


def _tree(folder: Path, **ladder: object) -> Tree:
    run = make_run(folder, **ladder)  # type: ignore[arg-type]  # its own keywords
    return Tree(read_facts(run.meta).rungs.values(), run.reference)


def test_the_only_step_that_differs_is_shown_by_the_deploy_rung_itself(tmp_path: Path) -> None:
    tree = _tree(tmp_path, steps=("resize",))
    assert tree.alone(ORT)[0] == ("preprocess:resize", TORCH, ROOT)
    assert tree.nodes[TORCH].stage == "preprocess"


def test_steps_are_shown_put_into_the_reference_and_taken_out_of_deploy(tmp_path: Path) -> None:
    tree = _tree(tmp_path)
    steps = ("colour", "resize")
    assert tree.alone(ORT)[:2] == [(f"preprocess:{s}", f"train+{s}/torch-fp32", ROOT) for s in steps]
    assert tree.without(ORT) == [(f"preprocess:{s}", TORCH, f"deploy-{s}/torch-fp32") for s in steps]
    assert tree.shows_every_factor(ORT)


def test_rungs_that_swap_steps_have_no_findings_of_their_own(tmp_path: Path) -> None:
    assert all(node.swap is None for node in _tree(tmp_path).chain())


@pytest.mark.parametrize("status", ["not_run", "crashed"])
def test_only_rungs_that_ran_are_listed(tmp_path: Path, status: str) -> None:
    gone = {f"{p}resize/torch-fp32": {"status": status, "reason": "why"} for p in ("train+", "deploy-")}
    tree = _tree(tmp_path, change=gone | {"train/ort-fp32": {"status": status}})
    assert [f for f, _, _ in tree.alone(ORT)] == ["preprocess:colour", "export"]
    assert [f for f, _, _ in tree.without(ORT)] == ["preprocess:colour"]
    assert not tree.shows_every_factor(ORT)


def test_without_rungs_that_swap_the_whole_is_shown_by_the_reference(tmp_path: Path) -> None:
    tree = _tree(tmp_path, change={n: {"status": "crashed"} for n in _swapped(tmp_path / "names")})
    whole = [("preprocess", TORCH, ROOT)]
    assert tree.alone(TORCH) == tree.without(TORCH) == whole


def _swapped(folder: Path) -> list[str]:
    return [name for name, node in _tree(folder).nodes.items() if node.swap]


def test_a_path_without_preprocessing_has_no_steps_to_take_out(tmp_path: Path) -> None:
    tree = _tree(tmp_path, preprocess=("train",))
    assert tree.without("train/ort-fp32") == []
    assert [f for f, _, _ in tree.alone("train/ort-fp32")] == ["export", "graph-optimisation"]


def test_the_only_step_that_differs_is_blamed_by_its_name(tmp_path: Path) -> None:
    run = make_run(tmp_path, bend=bends({TORCH: 0.4}), steps=("resize",))
    (finding,) = explain(run).findings
    assert (finding.first, finding.stage, finding.factor) == (TORCH, "preprocess", "preprocess:resize")
    assert [a.factor for a in finding.alone if not a.taken_out] == ["preprocess:resize"]
