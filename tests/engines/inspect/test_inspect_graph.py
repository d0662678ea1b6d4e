"""Graphs are read flat, and weights only from the model's own folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from inspect_graphs import make_graph, write_graph

from engines.errors import ModelLoadError
from engines.inspect.graph import check_external_data, read_graph

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
