"""Nodes that engines read differently are told, and those they read alike are not; what is said of engines is so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inspect_graphs import make_graph, write_graph

import engines
from engines.inspect.readings import RULES, different_readings
from engines.protocol import ModelSource, TensorSpec

PICTURE = "(float[1,2,7,10] x) => (float[1,2,N,M] y)"
SAMPLE = "(float[1,2,7,10] x, float[1,3,4,2] g) => (float[1,2,3,4] y)"
NORM = "(float[1,2,7,10] x, float[2] s, float[2] b, float[2] m, float[2] v) => (float[1,2,7,10] y)"
SQUARE = "(float[2,2] x, float[2,2] u) => (float[2,2] y)"
FLAT = "(float[5] x, float[3] u) => (float[5] y)"


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def resize(how: str) -> str:
    return f'y = Resize <coordinate_transformation_mode = "{how}"> (x, , , sizes)'


def pool(attributes: str) -> str:
    return f"y = AveragePool <kernel_shape=[3,3], {attributes}> (x)"


TO_ONE = {"sizes": ints(1, 2, 1, 1)}
TO_ROW = {"sizes": ints(1, 2, 1, 20)}
TO_MORE = {"sizes": ints(1, 2, 3, 4)}
TWICE, ONCE = {"i": ints(4, 1, 4).reshape(3, 1)}, {"i": ints(4, 1, 3).reshape(3, 1)}
IN_ROWS, IN_COLUMNS = {"i": ints(1, 1, 0, 1).reshape(2, 2)}, {"i": ints(1, 0, 0, 1).reshape(2, 2)}


@pytest.mark.parametrize(
    ("opset", "signature", "node", "weights", "words"),
    [
        (20, SAMPLE, 'y = GridSample <mode = "linear"> (x, g)', {}, "nearest pixel"),
        (22, SAMPLE, 'y = GridSample <mode = "cubic"> (x, g)', {}, "has mode cubic"),
        (20, SAMPLE, 'y = GridSample <mode = "nearest"> (x, g)', {}, None),
        (20, SAMPLE, "y = GridSample (x, g)", {}, None),
        (16, SAMPLE, 'y = GridSample <mode = "bilinear"> (x, g)', {}, None),
        (17, PICTURE, resize("pytorch_half_pixel"), TO_ONE, "middle"),
        (13, PICTURE, resize("pytorch_half_pixel"), TO_ROW, "middle"),
        (17, PICTURE, resize("pytorch_half_pixel"), TO_MORE, None),
        (17, PICTURE, resize("half_pixel"), TO_ONE, None),
        (11, PICTURE, resize("tf_half_pixel_for_nn"), TO_MORE, "dropped"),
        (17, NORM, "y, a, c = BatchNormalization <training_mode = 1> (x, s, b, m, v)", {}, "own mean and variance"),
        (17, NORM, "y = BatchNormalization (x, s, b, m, v)", {}, None),
        (9, NORM, "y, a, c, d, e = BatchNormalization (x, s, b, m, v)", {}, "training mode"),
        (17, FLAT, "y = Dropout (x, half, on)", {"half": 0.5, "on": np.array(True)}, "at random"),
        (17, FLAT, "y = Dropout (x, half, on)", {"half": 0.5, "on": np.array(False)}, None),
        (17, FLAT, "z = RandomNormalLike (x)\n y = Add(x, z)", {}, "ignores its seed"),
        (11, PICTURE, pool("pads=[1,1,1,1], ceil_mode=1, count_include_pad=1"), {}, "ceil_mode"),
        (11, PICTURE, pool("pads=[0,0,0,0], ceil_mode=1, count_include_pad=1"), {}, None),
        (11, PICTURE, pool("pads=[1,1,1,1], ceil_mode=1"), {}, None),
        (11, PICTURE, pool("pads=[1,1,1,1], count_include_pad=1"), {}, None),
        (17, FLAT, "y = ScatterND (x, i, u)", TWICE, "twice"),
        (17, FLAT, "y = ScatterND (x, i, u)", ONCE, None),
        (17, FLAT, 'y = ScatterND <reduction = "add"> (x, i, u)', TWICE, None),
        (17, FLAT, "y = ScatterND (x, i, c)", {**TWICE, "c": [7, 1, 7]}, None),
        (17, FLAT, "y = ScatterND (x, i, c)", {**TWICE, "c": [7, 1, 8]}, "twice"),
        (17, SQUARE, "y = ScatterElements <axis = 1> (x, i, u)", IN_ROWS, "twice"),
        (17, SQUARE, "y = ScatterElements <axis = 1> (x, i, u)", IN_COLUMNS, None),
        (17, SQUARE, "y = ScatterElements (x, i, u)", IN_ROWS, "twice"),
    ],
)  # fmt: skip
def test_what_engines_read_differently_is_told_with_its_node(
    tmp_path: Path, opset: int, signature: str, node: str, weights: dict, words: str | None
) -> None:
    found = different_readings(make_graph(tmp_path, f"{signature} {{ {node} }}", opset, **weights))
    assert [words in reading.what for reading in found if words] == [True] * bool(words)
    assert len(found) == bool(words)
    assert all(reading.nodes and reading.remedy for reading in found)


def test_one_difference_is_told_once_with_all_its_nodes(tmp_path: Path) -> None:
    text = f'{SAMPLE} {{ a = GridSample <mode = "linear"> (x, g)\n y = GridSample <mode = "linear"> (a, g) }}'
    (reading,) = different_readings(make_graph(tmp_path, text, 20))
    assert reading.nodes == ("GridSample #0", "GridSample #1")


def test_a_custom_operator_of_the_same_name_is_another(tmp_path: Path) -> None:
    assert different_readings(make_graph(tmp_path, f"{FLAT} {{ y = acme.Bernoulli(x) }}")) == []
    assert "Bernoulli" in RULES


def outputs(folder: Path, name: str, text: str, x: np.ndarray, opset: int, **weights: object) -> np.ndarray:
    spec = TensorSpec("x", x.shape)
    source = ModelSource(
        "tiny", folder, (spec,), ("y",), onnx=write_graph(folder, text, opset, **weights), cache=folder
    )
    return engines.open(name, source).infer({"x": x})["y"]


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).random((1, 2, 7, 10), np.float32)


def test_onnx_takes_the_first_pixel_where_pytorch_takes_the_middle(tmp_path: Path, picture: np.ndarray) -> None:
    import torch

    node = 'y = Resize <mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"> (x, , , sizes)'
    got = outputs(tmp_path, "ort-fp32", f"{PICTURE} {{ {node} }}", picture, 17, **TO_ONE)
    real = torch.nn.functional.interpolate(torch.tensor(picture), size=(1, 1), mode="bilinear").numpy()
    np.testing.assert_array_equal(got, picture[:, :, :1, :1])
    np.testing.assert_allclose(real[0, :, 0, 0], picture[0, :, 3, 4:6].mean(-1), rtol=1e-5)


@pytest.fixture
def openvino() -> str:
    (answer,) = engines.availability("openvino-fp32")
    if not answer.available:
        pytest.skip(answer.detail)
    return "openvino-fp32"


def test_openvino_divides_the_last_window_by_another_number(tmp_path: Path, picture: np.ndarray, openvino: str) -> None:
    node = "y = AveragePool <kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1], ceil_mode=1, count_include_pad=1> (x)"
    text = f"{PICTURE} {{ {node} }}"
    assert (
        np.abs(outputs(tmp_path, "ort-fp32", text, picture, 19) - outputs(tmp_path, openvino, text, picture, 19)).max()
        > 0.05
    )


def test_openvino_computes_int64_as_int32(tmp_path: Path, openvino: str) -> None:
    text = "(float[2] x) => (float[2] y) { i = Cast <to = 7> (x)\n s = Add(i, big)\n y = Cast <to = 1> (s) }"
    x = np.float32([1, 2])
    exact = outputs(tmp_path, "ort-fp32", text, x, 17, big=ints(3_000_000_000))
    np.testing.assert_array_equal(exact, [3e9, 3e9])
    np.testing.assert_array_equal(outputs(tmp_path, openvino, text, x, 17, big=ints(3_000_000_000)), [-(2.0**31)] * 2)
