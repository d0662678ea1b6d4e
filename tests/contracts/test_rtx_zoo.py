"""NVIDIA's own compiler on small graphs: it builds each, or says why not and at which node, in one line."""

from __future__ import annotations

import json
from dataclasses import dataclass

import onnx
import onnx_ir as ir
import pytest
from contract_machine import run_with_library
from contract_rtx import NEWEST
from contract_zoo import Specimen, brackets, unnamed, zoo
from onnx_ir.traversal import RecursiveGraphIterator

from engines.tensorrt.kernels import read_plan_text

# one process builds them all, as the adapter's child does one; what the library prints is not ours to show
BUILD = """
import json, sys
from pathlib import Path
from engines.errors import EngineError
from engines.protocol import TensorSpec
from engines.tensorrt.api import load
from engines.tensorrt.build import Order, build_plan
from engines.tensorrt.graph import read_graph
from engines.tensorrt.options import Options
from engines.tensorrt.product import RTX
from engines.tensorrt.recipe import Recipe
api, folder, answers = load(RTX), Path(sys.argv[1]), {}
inputs = (TensorSpec("x", ("n", 3, 8, 12)),)
for path in sorted(folder.glob("*.onnx")):
    order = Order("trtrtx-fp32", path, read_graph(path), Recipe("fp32", "strong", (), ("TF32",)), Options(), inputs,
        target="sm86")
    try:
        built = build_plan(api, order)
        answers[path.stem] = ["", built.layers, len(built.plan)]
    except EngineError as error:
        answers[path.stem] = [str(error), [], 0]
(folder / "answers.json").write_text(json.dumps(answers))
"""


@dataclass(frozen=True)
class Answer:
    """What the library says to a graph: why not, or the plan."""

    error: str
    layers: list[str]
    bytes: int


def nodes_in(answer: Answer) -> set[str]:
    return {node for kernel in read_plan_text(answer.layers).kernels for node in kernel.nodes}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """What the library says to each graph."""
    folder = tmp_path_factory.mktemp("zoo")
    graphs = {specimen.family: specimen.model for specimen in zoo()} | {"brackets": brackets(), "no names": unnamed()}
    numbers = {family: f"{number:03}" for number, family in enumerate(graphs)}
    for family, number in numbers.items():
        onnx.save(graphs[family], folder / f"{number}.onnx")
    run_with_library(NEWEST, ["-c", BUILD, str(folder)])
    said = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    return {family: Answer(*said[number]) for family, number in numbers.items()}


@pytest.mark.parametrize("specimen", zoo(), ids=lambda specimen: specimen.family)
def test_every_family_builds_or_is_refused_with_its_node(specimen: Specimen, answers: dict[str, Answer]) -> None:
    answer = answers[specimen.family]
    assert "\n" not in answer.error
    assert specimen.reason in answer.error
    assert bool(answer.error) == bool(specimen.reason), answer.error
    if specimen.reason:
        assert f"TensorRT for RTX {NEWEST} cannot " in answer.error
        return
    plan = read_plan_text(answer.layers)
    assert plan.unread == ()
    assert len(plan.kernels) >= specimen.kernels
    assert answer.bytes > 0


def test_every_kernel_names_nodes_of_its_graph(answers: dict[str, Answer]) -> None:
    for specimen in zoo():
        if not specimen.reason:
            nodes = RecursiveGraphIterator(ir.from_proto(specimen.model).graph)
            known = {node.name for node in nodes}
            told = {node.partition(" | ")[0] for node in nodes_in(answers[specimen.family])}
            assert told <= known, specimen.family


def test_names_may_hold_what_separates_names(answers: dict[str, Answer]) -> None:
    plan = read_plan_text(answers["brackets"].layers)
    assert plan.unread == ()
    names = [node.name for node in brackets().graph.node if node.name]
    assert set(names) <= nodes_in(answers["brackets"])


def test_a_node_without_a_name_is_known_by_its_output(answers: dict[str, Answer]) -> None:
    assert nodes_in(answers["no names"]) == {"node_of_y"}


def test_branches_and_loops_have_their_kernels(answers: dict[str, Answer]) -> None:
    kinds = {family: {k.kind for k in read_plan_text(answers[family].layers).kernels} for family in ("If", "Loop")}
    assert {"cjmp", "jmp", "kgen"} <= kinds["If"]
    assert {"cjmp", "add", "kgen"} <= kinds["Loop"]
    assert "then_relu | t (then_branch) | branch (If)" in nodes_in(answers["If"])
