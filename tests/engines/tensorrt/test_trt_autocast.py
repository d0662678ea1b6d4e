import io
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engines.errors import EngineUnavailable, ModelLoadError
from engines.protocol import ModelSource, TensorSpec
from engines.tensorrt.autocast import MOST_FRAMES, convert, read_calibration

INPUTS = (TensorSpec("images", (1, 3, 2, 4)), TensorSpec("speed", ("n",)))


@pytest.fixture
def source(tmp_path):
    info = helper.make_tensor_value_info
    node = helper.make_node("Relu", ["images"], ["y"])
    graph = helper.make_graph(
        [node],
        "g",
        [info("images", TensorProto.FLOAT, [1, 3, 2, 4]), info("speed", TensorProto.FLOAT, [1])],
        [info("y", TensorProto.FLOAT, [1, 3, 2, 4])],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return ModelSource("m", tmp_path, INPUTS, ("y",), onnx=path, cache=tmp_path / "cache")


def frames(path, count=3, **changes):
    arrays = {"images": np.arange(count * 24, dtype=np.float32).reshape(count, 1, 3, 2, 4)}
    arrays["speed"] = np.arange(count, dtype=np.float32).reshape(count, 1)
    np.savez(path, **{name: array for name, array in {**arrays, **changes}.items() if array is not None})
    return path


def test_frames_are_laid_end_to_end(source, tmp_path):
    found = read_calibration(source, frames(tmp_path / "f.npz"))
    assert found["images"].shape == (3, 3, 2, 4)
    assert found["speed"].tolist() == [0, 1, 2]


def test_of_many_frames_some_are_taken_from_start_to_end(source, tmp_path):
    found = read_calibration(source, frames(tmp_path / "f.npz", 1000))["speed"]
    assert len(found) == MOST_FRAMES
    assert (found[0], found[-1]) == (0, 999)
    assert np.ptp(np.diff(found)) <= 1


WRONG = {
    "it has arrays ['images'], and the model has inputs ['images', 'speed']": {"speed": None},
    "its arrays have [2, 3] frames": {"speed": np.zeros((2, 1), np.float32)},
    "its arrays have [0] frames": {"speed": np.zeros((0, 1), np.float32), "images": np.zeros((0, 1, 3, 2, 4), "f4")},
    "frames of 'images' are float64": {"images": np.zeros((3, 1, 3, 2, 4))},
    "frames of 'images' are float32 [1, 3, 4, 2], not float32 [1, 3, 2, 4]": {
        "images": np.zeros((3, 1, 3, 4, 2), "f4")
    },
    "frames of 'speed' are float32 [], not float32 ['n']": {"speed": np.zeros(3, np.float32)},
}


@pytest.mark.parametrize("what", WRONG, ids=range(len(WRONG)))
def test_data_that_does_not_fit_the_inputs_is_named(source, tmp_path, what):
    path = frames(tmp_path / "f.npz", **WRONG[what])
    with pytest.raises(ModelLoadError) as caught:
        read_calibration(source, path)
    assert what in caught.value.what
    assert caught.value.where == str(path)


def test_pickled_and_torn_data_are_refused(source, tmp_path):
    objects = io.BytesIO()
    np.savez(objects, images=np.array([{"a": 1}], dtype=object), speed=np.zeros((1, 1), np.float32))
    for content in (objects.getvalue(), b"PK\3\4 torn", b""):
        (tmp_path / "f.npz").write_bytes(content)
        with pytest.raises(ModelLoadError, match="no npz of arrays"):
            read_calibration(source, tmp_path / "f.npz")


def test_without_data_nothing_is_converted(source):
    with pytest.raises(EngineUnavailable, match="no calibration data"):
        convert("trt-fp16", source, source.onnx, "fp16", None)


MODELOPT = """
import os, sys
def convert_to_mixed_precision(onnx_path, low_precision_type, keep_io_types, calibration_data, **kept):
    print("INFO - a line of its log")
    print("and of stderr", file=sys.stderr)
    {body}
"""


@pytest.fixture
def modelopt(tmp_path, monkeypatch):
    """A function that puts an AutoCast with that body where a child finds it."""

    def put(body):
        package = tmp_path / "site" / "modelopt" / "onnx"
        package.mkdir(parents=True)
        (package / "autocast.py").write_text(MODELOPT.format(body=body))
        about = tmp_path / "site" / "nvidia_modelopt-1.2.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: nvidia-modelopt\nVersion: 1.2\n")
        monkeypatch.syspath_prepend(tmp_path / "site")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    return put


ENDS = {
    'raise ValueError("no such op\\nand more")': "AutoCast cannot convert the graph to fp16: ValueError: no such op",
    "os.abort()": "AutoCast cannot convert the graph to fp16: exit code -6",
    "os._exit(3)": "AutoCast cannot convert the graph to fp16: exit code 3",
}


@pytest.mark.skipif(sys.platform == "win32", reason="signals have no exit codes there")
@pytest.mark.parametrize("body", ENDS, ids=range(len(ENDS)))
def test_an_autocast_that_fails_or_dies_is_one_line_and_leaves_nothing(source, tmp_path, modelopt, body):
    modelopt(body)
    with pytest.raises(ModelLoadError) as caught:
        convert("trt-fp16", source, source.onnx, "fp16", frames(tmp_path / "f.npz"))
    assert caught.value.what == ENDS[body]
    assert list((tmp_path / "cache" / "autocast").iterdir()) == []


def test_a_conversion_is_found_again_until_data_or_precision_change(source, tmp_path, modelopt, monkeypatch):
    modelopt("import onnx; return onnx.load(onnx_path)")
    runs = []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *args, **more: runs.append(args) or real(*args, **more))
    few, many = frames(tmp_path / "few.npz", 1), frames(tmp_path / "many.npz", 2)
    first = convert("trt-fp16", source, source.onnx, "fp16", few)
    assert first.facts["modelopt"] == "1.2"
    assert convert("trt-fp16", source, source.onnx, "fp16", few) == first
    assert len(runs) == 1
    assert convert("trt-fp16", source, source.onnx, "fp16", many).path != first.path
    assert convert("trt-bf16", source, source.onnx, "bf16", few).path != first.path
    assert len(runs) == 3
