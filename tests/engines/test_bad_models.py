"""ONNX files that no engine may run: weights outside the folder, unknown operators, torn files; one line each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import engines
from engines.errors import EngineError, ModelLoadError
from engines.protocol import CommandSpec, ModelSource, TensorSpec

ENGINES = ("ort-fp32-none", "ort-fp32", "emulated-fp16", "emulated-tf32", "emulated-reorder", "openvino-fp32")
OPENERS = (*ENGINES, "command")
COMMANDS = {"cat": CommandSpec(("cat", "{onnx}"))}


def save(folder: Path, operator: str = "Mul", location: str | None = None) -> Path:
    """y = operator(x, w); with a location, w is said to lie there."""
    folder.mkdir(exist_ok=True)
    weight = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    if location is not None:
        onnx.external_data_helper.set_external_data(weight, location)
        weight.ClearField("raw_data")
    io = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"], name="only")], "g", [io[0]], [io[1]], [weight]
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def refused(name: str, model: Path) -> ModelLoadError:
    """The error of opening it, one line that names the file."""
    skip_missing(name)
    inputs = (TensorSpec("x", (4,)),)
    source = ModelSource(
        "bad", model.parent, inputs, ("y",), onnx=model, commands=COMMANDS, cache=model.parent / "cache"
    )
    with pytest.raises(EngineError) as caught:
        engines.open(name, source)
    assert isinstance(caught.value, ModelLoadError)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    assert model.name in caught.value.where
    return caught.value


def skip_missing(name: str) -> None:
    (found,) = engines.availability(name)
    if not found.available:
        pytest.skip(found.detail)


@pytest.mark.parametrize("name", OPENERS)
@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname"])
def test_weights_outside_the_folder_are_refused_by_every_engine(name: str, location: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    error = refused(name, save(tmp_path / "model", location=location))
    assert error.what == f"weight 'w' lies in {location!r}, outside the model's folder"


@pytest.mark.parametrize("name", ENGINES)
def test_weights_beside_the_model_run(name: str, tmp_path: Path) -> None:
    skip_missing(name)
    model = save(tmp_path / "model", location="w.bin")
    (model.parent / "w.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    source = ModelSource("good", model.parent, (TensorSpec("x", (4,)),), ("y",), onnx=model, cache=tmp_path / "cache")
    y = engines.open(name, source).infer({"x": np.full(4, 3, np.float32)})["y"]
    assert y.tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize("name", ENGINES)
def test_an_unknown_operator_is_named_by_every_engine(name: str, tmp_path: Path) -> None:
    assert "Unheard" in refused(name, save(tmp_path / "model", operator="Unheard")).what


@pytest.mark.parametrize("name", OPENERS)
@pytest.mark.parametrize("content", [b"", b"no model", None], ids=["empty", "text", "absent"])
def test_a_file_that_is_no_model_is_refused_by_every_engine(name: str, content: bytes | None, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    if content is not None:
        model.write_bytes(content)
    refused(name, model)
