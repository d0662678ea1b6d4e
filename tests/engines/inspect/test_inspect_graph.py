"""Graphs are read flat, and weights only from the model's own folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from inspect_graphs import make_graph, write_graph

from engines.errors import ModelLoadError
from engines.inspect.graph import check_external_data, model_sha256, read_graph, weight_files
from engines.sealed import file_sha256

SCALE = "(float[4] x) => (float[4] y) { y = Mul(x, w) }"


def external(folder: Path, location: str) -> Path:
    """A model whose weight lies at `location`."""
    path = write_graph(folder, SCALE, w=np.arange(4, dtype=np.float32))
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    onnx.save(model, path)
    return path


def test_nodes_of_branches_and_constants_of_every_kind_are_there(tmp_path: Path) -> None:
    graph = make_graph(
        tmp_path,
        """(bool c, float[1] x) => (float[1] y) {
            k = Constant <value_float = 3.0> ()
            y = If (c) <
                then_branch = t () => (float[1] a) { a = Mul(x, w) },
                else_branch = e () => (float[1] b) { b = Add(x, k) }>
        }""",
        w=[2.0],
    )
    assert [node.op for node in graph.nodes] == ["Constant", "If", "Mul", "Add"]
    assert graph.constants["w"] == 2
    assert graph.constants["k"] == 3
    assert [node.op for node in graph.readers["x"]] == ["Mul", "Add"]
    assert graph.inputs == {"c": (), "x": (1,)}


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    path = external(tmp_path, "weights.bin")
    (tmp_path / "weights.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    assert list(read_graph(path).constants["w"]) == [0, 1, 2, 3]


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "deep/../../secret.bin"])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelLoadError, match="outside the model's folder") as caught:
        check_external_data(external(tmp_path / "model", location))
    assert location in caught.value.what


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelLoadError, match="outside"):
        check_external_data(external(tmp_path / "model", "w.bin"))


def test_missing_weights_and_other_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="not there"):
        read_graph(external(tmp_path, "gone.bin"))
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(ModelLoadError, match="no ONNX model"):
        read_graph(tmp_path / "no.onnx")


def test_the_hash_follows_weights_in_files_beside_the_graph(tmp_path: Path) -> None:
    inside = write_graph(tmp_path, SCALE, w=np.arange(4, dtype=np.float32))
    assert weight_files(inside) == ()
    assert model_sha256(inside) == file_sha256(inside)
    (tmp_path / "w.bin").write_bytes(bytes(16))
    outside = external(tmp_path, "./w.bin")
    assert weight_files(outside) == ("w.bin",)
    first = model_sha256(outside)
    (tmp_path / "w.bin").write_bytes(bytes(15) + b"\1")
    assert model_sha256(outside) != first


def test_weights_are_found_wherever_a_file_can_store_them(tmp_path: Path) -> None:
    """In branches, constants, attributes of any operator, and functions."""
    path = make_everywhere(tmp_path)
    for index in range(len(list(_stored(onnx.load(path, load_external_data=False))))):
        model = onnx.load(make_everywhere(tmp_path), load_external_data=False)
        tensor = list(_stored(model))[index]
        onnx.external_data_helper.set_external_data(tensor, "../elsewhere.bin")
        tensor.ClearField("raw_data")
        onnx.save(model, path)
        with pytest.raises(ModelLoadError, match="outside"):
            check_external_data(path)


def make_everywhere(folder: Path) -> Path:
    """A graph with an initializer, a constant in a branch, one in a function, and a tensor in a custom attribute."""
    tensor = onnx.numpy_helper.from_array(np.arange(4, dtype=np.float32), "t")
    make = onnx.helper.make_node
    constant = make("Constant", [], ["k"], value=tensor)
    branch = onnx.helper.make_graph([constant], "b", [], [onnx.helper.make_tensor_value_info("k", 1, [4])])
    body = [constant, make("Mul", ["a", "k"], ["b"])]
    function = onnx.helper.make_function("acme", "Own", ["a"], ["b"], body, [onnx.helper.make_opsetid("", 17)])
    nodes = [
        make("If", ["c"], ["i"], then_branch=branch, else_branch=branch),
        make("Own", ["i"], ["o"], domain="acme"),
        make("Odd", ["o"], ["y"], domain="acme", table=tensor, tables=[tensor]),
    ]
    io = (
        onnx.helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, []),
        onnx.helper.make_tensor_value_info("y", 1, [4]),
    )
    graph = onnx.helper.make_graph(nodes, "g", [io[0]], [io[1]], [tensor])
    path = folder / "everywhere.onnx"
    onnx.save(onnx.helper.make_model(graph, functions=[function], ir_version=9), path)
    return path


def _stored(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Every tensor of `make_everywhere`, by hand."""
    (choice, _, odd), (constant, _) = model.graph.node, model.functions[0].node
    branches = [a.g.node[0].attribute[0].t for a in choice.attribute]
    attributes = {a.name: a for a in odd.attribute}
    return [
        model.graph.initializer[0],
        *branches,
        constant.attribute[0].t,
        attributes["table"].t,
        attributes["tables"].tensors[0],
    ]


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ("(float[1] x) => (float[1] y) { a = Relu(x)\n y = Neg(a) }", ()),
        ("(float[1] x) => (float[1] y) { mean = Relu(x)\n y = Add(mean, mean) }", ("mean",)),
        ("(float[1] x) => (float[1] y) { a = Relu(x)\n a = Neg(x)\n y = Neg(a) }", ("a",)),
        ("(float[1] x, float[1] mean) => (float[1] y) { y = Add(x, mean) }", ()),
        ("(float[1] x) => (float[1] y) { x = Relu(x)\n y = Neg(x) }", ("x",)),
    ],
)
def test_names_that_two_values_share(tmp_path: Path, text: str, repeated: tuple[str, ...]) -> None:
    assert make_graph(tmp_path, text, mean=[1.0]).repeated == repeated


def test_a_branch_may_not_name_a_value_as_the_graph_around_it_does(tmp_path: Path) -> None:
    branch = "then_branch = yes () => (float[1] {name}) {{ {name} = Relu(x) }}"
    branch += ", else_branch = no () => (float[1] b) {{ b = Neg(x) }}"
    text = "(float[1] x, bool t) => (float[1] y) {{ z = Neg(x)\n y = If (t) <{branch}> }}"
    assert make_graph(tmp_path, text.format(branch=branch.format(name="a"))).repeated == ()
    assert make_graph(tmp_path, text.format(branch=branch.format(name="z"))).repeated == ("z",)


def test_shapes_are_inferred_from_sizes_in_the_file(tmp_path: Path) -> None:
    text = "(float[1,2,7,10] x) => (float[A,B,C,D] y) { r = Resize(x, , , s)\n y = Relu(r) }"
    graph = make_graph(tmp_path, text, s=np.array([1, 2, 1, 3], np.int64))
    assert graph.shapes["r"] == (1, 2, 1, 3)
    assert graph.shapes["x"] == (1, 2, 7, 10)
