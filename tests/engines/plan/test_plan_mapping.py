"""Tensors of a plan find their values by nodes, readers and shapes; names of tensors play no part."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.plan.changes import plan_changes
from engines.plan.mapping import PlanMap, map_plan
from engines.plan.owners import owners_of
from engines.plan.told import tell_plan
from engines.tensorrt.kernels import read_plan_text
from tests.engines.plan.plans import graph, layers, line, tensor

W = "float[4,3,1,1] w = {1,2,3,4,5,6,7,8,9,10,11,12}"
TWO = (
    f"(float[1,3,4,4] x) => (float[1,4,4,4] y) <{W}> "
    "{ [conv] a = Conv(x, w) [act] b = Relu(a) [sin] c = Sin(b) [exp] d = Exp(b) [sum] y = Add(c, d) }"
)
A, B = "1,3,4,4", "1,4,4,4"


def mapped(lines: list[str], text: str, folder: Path) -> PlanMap:
    model, plan = graph(text, folder), read_plan_text(lines)
    assert plan.unread == ()
    return map_plan(plan, owners_of(plan, model), model)


def told(found: PlanMap) -> list[tuple[str, str | None]]:
    return [(one.how, one.value.name if one.value is not None else None) for one in found.written]


def plan_of_two(first: str = "one", second: str = "two") -> list[str]:
    """Convolution and activation in one kernel, the rest in another."""
    return layers(
        line("k0", "correlation", [tensor("x", A)], [tensor(first, B)], ["conv", "act"]),
        line("k1", "kgen", [tensor(first, B)], [tensor("y", B)], ["sin", "exp", "sum"], "__myl_SinExpAdd_0x1f"),
    )


def test_a_kernel_writes_what_others_read_of_its_nodes(tmp_path: Path) -> None:
    found = mapped(plan_of_two(), TWO, tmp_path)
    assert told(found) == [("made", "b"), ("made", "y")]
    assert {value.name: word for value, word in found.crossing.items()} == {"b": "Half", "y": "Half"}


@pytest.mark.parametrize("name", ["a", "c", "conv_output_0.1", "y2"])
def test_names_of_tensors_play_no_part(tmp_path: Path, name: str) -> None:
    assert told(mapped(plan_of_two(name), TWO, tmp_path)) == [("made", "b"), ("made", "y")]


def test_copies_padding_and_transposes_hold_what_they_read(tmp_path: Path) -> None:
    lines = layers(
        line("k0", "runtime_function", [tensor("x", A)], [tensor("p", "1,4,4,4")], ["conv"], "__myl_Conc_0x1"),
        line("k1", "correlation", [tensor("p", "1,4,4,4")], [tensor("q", B)], ["conv", "act"]),
        line("k2", "kgen", [tensor("q", B)], [tensor("t", B)], [], "__myl_Tran_0x2"),
        line("k3", "kgen", [tensor("t", B)], [tensor("y", B)], ["sin", "exp", "sum"], "__myl_SinExpAdd_0x3"),
    )
    found = mapped(lines, TWO, tmp_path)
    assert told(found) == [("copied", "x"), ("made", "b"), ("copied", "b"), ("made", "y")]
    assert found.unmapped == ()


def test_a_node_of_several_kernels_belongs_to_the_one_that_computes_it(tmp_path: Path) -> None:
    lines = plan_of_two()
    model, plan = graph(TWO, tmp_path), read_plan_text(lines)
    assert {node.name: index for node, index in owners_of(plan, model).kernel_of.items()}["conv"] == 0
    both = layers(
        line("k0", "kgen", [tensor("x", A)], [tensor("p", "1,4,4,4")], ["conv", "act"], "__myl_MaxConc_0x1"),
        line("k1", "correlation", [tensor("p", "1,4,4,4")], [tensor("q", B)], ["conv"]),
    )
    plan = read_plan_text(both)
    found = {node.name: index for node, index in owners_of(plan, graph(TWO, tmp_path)).kernel_of.items()}
    assert found == {"conv": 1, "act": 0}
    cut = layers(  # as of a transposed convolution whose padded channels the next kernel cuts off
        line("k0", "correlation", [tensor("x", A)], [tensor("q", "1,8,4,4")], ["conv"]),
        line("k1", "kgen", [tensor("q", "1,8,4,4")], [tensor("r", B)], ["act", "conv"], "__myl_SlicMax_0x1"),
    )
    plan = read_plan_text(cut)
    found = {node.name: index for node, index in owners_of(plan, graph(TWO, tmp_path)).kernel_of.items()}
    assert found == {"conv": 0, "act": 1}


def test_outputs_of_one_kernel_are_told_apart_by_who_reads_them(tmp_path: Path) -> None:
    lines = layers(
        line("k0", "correlation", [tensor("x", A)], [tensor("q", B)], ["conv", "act"]),
        line("k1", "kgen", [tensor("q", B)], [tensor("s", B), tensor("e", B)], ["sin", "exp"], "__myl_SinExp_0x1"),
        line("k2", "kgen", [tensor("s", B), tensor("e", B)], [tensor("y", B)], ["sum"], "__myl_Add_0x2"),
    )
    found = mapped(lines, TWO, tmp_path)
    assert told(found)[1:3] == [("", None), ("", None)]  # one kernel reads both: nothing tells them apart
    assert [one.tensor.name for one in found.unmapped] == ["s", "e"]
    assert {value.name: word for value, word in found.crossing.items()} == {
        "b": "Half",
        "c": None,
        "d": None,
        "y": "Half",
    }


def test_shapes_tell_views_apart(tmp_path: Path) -> None:
    text = (
        "(float[2,6] x) => (float[2,2] y) <int64[1] n = {12}> "
        "{ [sin] a = Sin(x) [turn] b = Transpose(a) [mul] y = MatMul(a, b) }"
    )
    lines = layers(
        line(
            "k0",
            "kgen",
            [tensor("x", "2,6")],
            [tensor("p", "6,2"), tensor("q", "2,6")],
            ["sin", "turn"],
            "__myl_SinTran_0x1",
        ),
        line("k1", "gemm", [tensor("q", "2,6"), tensor("p", "6,2")], [tensor("y", "2,2", "Float")], ["mul"]),
    )
    found = mapped(lines, text.replace(" <int64[1] n = {12}>", ""), tmp_path)
    assert told(found) == [("made", "b"), ("made", "a"), ("made", "y")]
    assert {value.name: word for value, word in found.crossing.items()} == {"a": "Half", "b": "Half", "y": "Float"}


def test_a_line_of_another_form_is_reported_and_never_guessed() -> None:
    good = line("k0", "kgen", [tensor("x", A)], [tensor("y", B)], ["sin"])
    wrong = [
        good.replace("Datatype: Half", "Type: Half"),
        good.replace(", StreamId: 0", ""),
        good.replace("Outputs:", "Results:"),
        good.replace("[ONNX Layer: sin]", "sin"),
        "Layer: k1",
    ]
    plan = read_plan_text(["Layers:\n" + "\n".join([good, *wrong])])
    assert len(plan.kernels) == 1
    assert list(plan.unread) == wrong


def test_early_versions_have_neither_constants_nor_strides() -> None:
    early = (
        "Name: k, LayerType: kgen, Inputs: [ { Name: x, Dimensions: [1,3], Format/Datatype: Half }], "
        "Outputs: [ { Name: y, Dimensions: [-1,3], Format/Datatype: Float }], TacticName: t, StreamId: 0, "
        "Metadata: [ONNX Layer: a]"
    )
    plan = read_plan_text([f"Layers:\n{early}\n\nBindings:\nx\ny"])
    assert plan.unread == ()
    (kernel,) = plan.kernels
    assert [(t.name, t.shape, t.dtype) for t in (*kernel.inputs, *kernel.outputs)] == [
        ("x", (1, 3), "Half"),
        ("y", (-1, 3), "Float"),
    ]


def test_every_section_of_a_build_is_read() -> None:
    texts = [*plan_of_two(), *plan_of_two()]
    assert len(read_plan_text(texts).kernels) == 4


def test_two_plans_differ_by_kernels_and_types(tmp_path: Path) -> None:
    before = tell_plan(plan_of_two(), graph(TWO, tmp_path))
    apart = layers(
        line("k0", "correlation", [tensor("x", A)], [tensor("p", B, "Float")], ["conv", "act"]),
        line("k1", "kgen", [tensor("p", B, "Float")], [tensor("q", B)], ["sin"], "__myl_Sin_0x1"),
        line(
            "k2",
            "kgen",
            [tensor("q", B), tensor("p", B, "Float")],
            [tensor("y", B)],
            ["exp", "sum"],
            "__myl_ExpAdd_0x2",
        ),
    )
    now = tell_plan(apart, graph(TWO, tmp_path))
    changes = plan_changes(now, before)
    assert [kernel["nodes"] for kernel in changes["appeared"]] == [["sin"], ["exp", "sum"]]
    assert [kernel["nodes"] for kernel in changes["vanished"]] == [["exp", "sin", "sum"]]
    assert changes["types"] == [["b", "Half", "Float"]]
    assert changes["stored"] == ["c"]
    assert plan_changes(before, now)["fused"] == ["c"]
    assert plan_changes(now, now) == {"appeared": [], "vanished": [], "types": [], "stored": [], "fused": []}


def test_what_was_done_to_a_kernel_is_told(tmp_path: Path) -> None:
    lines = layers(
        line("k0", "kgen", [tensor("x", A, "Float")], [tensor("p", "1,4,4,4")], ["conv"], "__myl_CastConc_0x1"),
        line("k1", "correlation", [tensor("p", "1,4,4,4")], [tensor("q", B)], ["conv", "act"]),
        line(
            "k2", "kgen", [tensor("q", B)], [tensor("y", B, "Float")], ["sin", "exp", "sum"], "__myl_SinExpAddCast_0x3"
        ),
    )
    plan = tell_plan(lines, graph(TWO, tmp_path))
    assert [kernel["did"] for kernel in plan["kernels"]] == [
        ["cast Float to Half", "copied", "padded 3 to 4"],
        ["fused 2"],
        ["fused 3", "cast Half to Float"],
    ]
    assert (plan["nodes"], plan["named"], plan["folded"]) == (5, 5, {})
