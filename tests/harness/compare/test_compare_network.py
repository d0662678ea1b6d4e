"""Layers and compiled plans of two runs beside one another."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from rich.console import Console

from engines.layers.numbers import Numbers
from harness.compare import compare_runs
from harness.compare.build import see
from harness.compare.page import write_page
from harness.compare.text import markdown, render
from harness.layers.table import LayerRow, LayerTable, layers_json
from harness.measures.movement import Movement
from harness.run.folder import Run
from harness.run.json import write_json
from tests.harness.report.fixture_run import Shape, make_run

SHAPE = Shape(cases=3, rungs=3, frames=8)
FIRST = {"stem": 0.1, "neck": 0.02, "head": 0.0}
SECOND = {"stem": 0.1, "head": 0.35, "extra": 0.05}


def layers(costs: Mapping[str, float], **other: str) -> LayerTable:
    """A table of nodes that move the lines so far."""
    numbers = Numbers(1e-4, 1e-4, math.nan, 3.0, 2e4, 0.0, 0.001, 0, None)
    rows = tuple(
        LayerRow(n, "Conv", (f"/{n}/Conv",), (), "", numbers, Movement({}, c, c, 0, c), "switched", 2)
        for n, c in costs.items()
    )
    whole = Movement({}, sum(costs.values()), 1.0, 0, sum(costs.values()))
    table = LayerTable("roadlines", "ort-fp32", "emulated-fp16", "alone", "fp16", 2, "m", rows, whole, 0.0, None, {})
    return replace(table, **other)


def plan(kinds: Mapping[str, str]) -> dict[str, object]:
    """A compiled plan: node -> kind of its kernel."""
    kernel = {"name": "k", "tactic": "t_0x1", "modules": [], "reads": [], "writes": [], "constants": {}, "did": []}
    return {
        "schema": 1, "model": "roadlines", "engine": "trtrtx-fp16", "target": "sm86", "compiler": "TensorRT for RTX",
        "warnings": [], "unread": [], "unmapped": [], "nodes": len(kinds), "named": len(kinds), "folded": {},
        "types": {node: "Half" if kind == "gemm" else "Float" for node, kind in kinds.items()},
        "kernels": [{**kernel, "kind": kind, "nodes": [node]} for node, kind in kinds.items()],
    }  # fmt: skip


@pytest.fixture
def runs(tmp_path) -> list[Run]:
    return [make_run(tmp_path / name, SHAPE) for name in ("a", "b")]


def put(run: Run, **files: object) -> None:
    for name, content in files.items():
        write_json(run.path / f"{name}.json", content)


def test_what_nodes_move_is_told_of_both_runs_and_swaps_with_them(runs):
    for run, costs in zip(runs, (FIRST, SECOND), strict=True):
        put(run, layers=layers_json(layers(costs)))
    forth, back = (compare_runs(pair).pairings[0].network for pair in (runs, runs[::-1]))
    assert forth.whole == (pytest.approx(0.12), pytest.approx(0.5)) == back.whole[::-1]
    assert {n.name: (n.first, n.second) for n in forth.nodes} == {
        "stem": (0.1, 0.1), "neck": (0.02, None), "head": (0.0, 0.35), "extra": (None, 0.05),
    }  # fmt: skip
    assert [n.name for n in forth.ranked()] == ["head", "extra", "neck"]
    assert {n.name: (n.second, n.first) for n in back.nodes} == {n.name: (n.first, n.second) for n in forth.nodes}
    comparison = compare_runs(runs)
    assert "| head | Conv | /head/Conv | 0 | 0.35 |" in markdown(comparison)
    assert comparison.to_json()["pairings"][0]["network"]["nodes"][0]["name"] == "stem"


def test_plans_are_compared_kernel_by_kernel(runs):
    put(runs[0], plan=plan({"stem": "conv", "head": "gemm"}))
    put(runs[1], plan=plan({"stem": "gemm", "head": "gemm"}))
    forth, back = (compare_runs(pair).pairings[0].network.plan for pair in (runs, runs[::-1]))
    assert set(forth) == {"kernel appeared: gemm stem", "kernel vanished: conv stem", "stem: Float before, Half now"}
    assert set(back) == {"kernel appeared: conv stem", "kernel vanished: gemm stem", "stem: Half before, Float now"}


def test_what_is_not_the_same_look_is_not_compared_and_told(runs):
    assert compare_runs(runs).pairings[0].network.remarks == ()
    put(runs[0], layers=layers_json(layers(FIRST)))
    (remark,) = compare_runs(runs).pairings[0].network.remarks
    assert remark == "only the first run has layers.json: trueline model layers RUN writes the other's"
    put(runs[1], layers=layers_json(layers(SECOND, b="emulated-bf16")))
    found = compare_runs(runs).pairings[0].network
    assert found.remarks == (
        "layers are not compared: engine emulated-fp16 in the first run, emulated-bf16 in the second",
    )
    assert (found.nodes, found.whole) == ((), None)
    put(runs[1], layers=layers_json(layers(SECOND, card="another")))
    assert "second: layers.json of the run folder is not shown: it is of another model" in "".join(
        compare_runs(runs).pairings[0].network.remarks
    )


def test_the_page_has_a_bar_for_every_node_that_moves_lines(runs, tmp_path):
    for run, costs in zip(runs, (FIRST, SECOND), strict=True):
        put(run, layers=layers_json(layers(costs)))
    text = write_page(compare_runs(runs), see(runs), tmp_path / "c.html").read_text(encoding="utf-8")
    strip = text[text.index('<svg class="nodes"') : text.index("</svg>", text.index('<svg class="nodes"'))]
    assert (strip.count('class="of-first"'), strip.count('class="of-second"')) == (2, 3)
    assert 'height="48.00"' in strip  # the largest fills its half
    assert "<title>head Conv /head/Conv 0 0.35</title>" in strip


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_broken(runs, tmp_path, width):
    for run, costs in zip(runs, (FIRST, SECOND), strict=True):
        put(run, layers=layers_json(layers(costs)), plan=plan(dict.fromkeys(costs, "gemm")))
    worse = make_run(tmp_path / "worse", replace(SHAPE, severity=3.0))
    file = io.StringIO()
    comparison = compare_runs([runs[0], worse])
    render(comparison, Console(file=file, width=width, color_system=None))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for label in ("curvature gap, 1/m", "jitter, m", "bend, m"):
        assert sum(label in line for line in lines) == 1
    told = " ".join(file.getvalue().split())
    for change in [c for c in comparison.pairings[0].changes if c.kind != "same"][:12]:
        assert f"{change.kind} {change.label} {change.first or '–'} -> {change.second or '–'}: {change.case}" in told
