"""Where BatchNorm is rounded: folded late, as OpenVINO does it in fp16, or not folded, as PyTorch's own half has it."""

import numpy as np
import numpy_executor as independent
import pytest
from graphs import make_source, node

import engines
from engines.protocol import ModelSource

EPSILON = 1e-3


def run(name: str, source: ModelSource, feeds: dict[str, np.ndarray], **options: object) -> dict[str, np.ndarray]:
    return engines.open(name, source, threads=1, **options).infer(feeds)


def norm_weights(channels: int, seed: int) -> dict[str, np.ndarray]:
    """Small variances, as training with weight decay leaves them: rounding them matters."""
    random = np.random.default_rng(seed)
    weights = {
        "s": random.random(channels) + 0.5,
        "b": random.standard_normal(channels),
        "m": random.standard_normal(channels) * 0.1,
        "v": random.random(channels) * 1e-3,
    }
    return {key: array.astype(np.float32) for key, array in weights.items()}


def lone_norm(folder, variance: float | None = None, epsilon: float = EPSILON) -> tuple[ModelSource, dict]:
    """Relu and BatchNorm: no convolution that it could be folded into."""
    weights = norm_weights(64, 1)
    if variance is not None:
        weights["v"][:] = variance
    nodes = [node("Relu", ["x"], ["r"]), node("BatchNormalization", ["r", "s", "b", "m", "v"], ["y"], epsilon=epsilon)]
    return make_source(folder, nodes, {"x": [1, 64, 16, 16]}, ["y"], weights), weights


def conv_norm(folder) -> ModelSource:
    """Convolution, BatchNorm, PReLU."""
    random = np.random.default_rng(2)
    weights = {**norm_weights(16, 3), "w": random.standard_normal((16, 8, 3, 3)) / 300, "a": random.random((16, 1, 1))}
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], epsilon=EPSILON),
        node("PRelu", ["n", "a"], ["y"]),
    ]
    weights = {key: array.astype(np.float32) for key, array in weights.items()}
    return make_source(folder, nodes, {"x": [1, 8, 32, 32]}, ["y"], weights)


def product_norm(folder, kind: str, bias: bool) -> ModelSource:
    """A convolution of one kind and its BatchNorm."""
    random = np.random.default_rng(6)
    shape = (8, 16, 2, 2) if kind == "ConvTranspose" else (16, 8, 2, 2)
    weights = {**norm_weights(16, 7), "w": (random.standard_normal(shape) / 300).astype(np.float32)}
    if bias:
        weights["c"] = (random.standard_normal(16) / 100).astype(np.float32)
    nodes = [
        node(kind, ["x", "w", "c"] if bias else ["x", "w"], ["k"], strides=[2, 2]),
        node("BatchNormalization", ["k", "s", "b", "m", "v"], ["y"], epsilon=EPSILON),
    ]
    return make_source(folder, nodes, {"x": [1, 8, 32, 32]}, ["y"], weights)


def halves(shape: tuple[int, ...]) -> np.ndarray:
    return independent.fp16(np.random.default_rng(4).standard_normal(shape).astype(np.float32))


def by_hand(x: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """NumPy's own float16, one operation after another; scale x + shift is rounded once."""
    scale, shift, mean, variance = (weights[key].astype(np.float16) for key in "sbmv")
    factor = scale / np.sqrt(variance + np.float16(EPSILON))
    offset = shift - mean * factor
    spread = [array.astype(np.float32)[:, None, None] for array in (factor, offset)]
    return independent.fp16(np.maximum(x, 0) * spread[0] + spread[1])


def test_a_late_fold_computes_scale_and_shift_in_fp16(tmp_path):
    source, weights = lone_norm(tmp_path)
    x = halves((1, 64, 16, 16))
    want = by_hand(x, weights)
    np.testing.assert_array_equal(run("emulated-fp16:late-fold", source, {"x": x})["y"], want)
    np.testing.assert_array_equal(run("emulated-fp16-fused:late-fold", source, {"x": x})["y"], want)
    assert (run("emulated-fp16", source, {"x": x})["y"] == want).mean() < 0.9


@pytest.fixture
def openvino() -> str:
    """Its fp16 engine's name, where the processor computes in fp16."""
    (answer,) = engines.availability("openvino-fp16")
    if not answer.available:
        pytest.skip(f"openvino-fp16: {answer.detail}")
    return "openvino-fp16"


def test_a_late_fold_is_what_openvino_does(tmp_path, openvino):
    source, _ = lone_norm(tmp_path)
    x = halves((1, 64, 16, 16))
    real = run(openvino, source, {"x": x})["y"]
    np.testing.assert_array_equal(run("emulated-fp16-fused:late-fold", source, {"x": x})["y"], real)


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("bias", [False, True])
def test_a_late_fold_into_a_convolution_is_what_openvino_does(kind, bias, tmp_path, openvino):
    source = product_norm(tmp_path, kind, bias)
    x = halves((1, 8, 32, 32))
    real = run(openvino, source, {"x": x})["y"]
    assert (run("emulated-fp16-fused:late-fold", source, {"x": x})["y"] == real).mean() > 0.99
    assert (run("emulated-fp16-fused", source, {"x": x})["y"] == real).mean() < 0.8


def test_a_variance_that_vanishes_in_fp16_makes_a_late_fold_infinite(tmp_path):
    source, _ = lone_norm(tmp_path, variance=1e-9, epsilon=1e-9)
    x = np.full((1, 64, 16, 16), 1, np.float32)
    assert not np.isfinite(run("emulated-fp16:late-fold", source, {"x": x})["y"]).any()
    assert np.isfinite(run("emulated-bf16:late-fold", source, {"x": x})["y"]).all()
    assert np.isfinite(run("emulated-fp16", source, {"x": x})["y"]).all()


@pytest.mark.parametrize("name", ["emulated-fp16", "emulated-bf16"])
def test_unfolded_is_pytorchs_own_half_operator_by_operator(name, tmp_path):
    import torch
    import torch.nn.functional as torch_ops

    source = conv_norm(tmp_path)
    dtype = torch.bfloat16 if "bf16" in name else torch.float16
    import onnx

    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(source.onnx).graph.initializer}
    low = {key: torch.tensor(array).to(dtype) for key, array in arrays.items()}
    x = np.random.default_rng(5).standard_normal((1, 8, 32, 32)).astype(np.float32)
    convolved = torch_ops.conv2d(torch.tensor(x).to(dtype), low["w"], padding=1)
    normal = torch_ops.batch_norm(convolved, low["m"], low["v"], low["s"], low["b"], eps=EPSILON)
    real = torch_ops.prelu(normal, low["a"].flatten()).float().numpy()
    assert (run(f"{name}:unfolded", source, {"x": x})["y"] == real).mean() > 0.99
    assert (run(name, source, {"x": x})["y"] == real).mean() < 0.8


def test_unfolded_takes_the_network_as_it_is_written(shared_cards):
    """The usual export has its BatchNorms folded already; this variant asks for one that keeps them."""
    import onnx

    from engines.emulated import emulated_graph
    from engines.emulated.recipe import Recipe

    source = shared_cards("Lanes")
    counts = {}
    for batchnorm in ("folded", "unfolded"):
        path, _ = emulated_graph(source, Recipe("fp16", batchnorm=batchnorm))
        counts[batchnorm] = sum(n.op_type == "BatchNormalization" for n in onnx.load(path).graph.node)
    assert counts["folded"] == 0 < counts["unfolded"]


@pytest.mark.parametrize("variant", ["", ":late-fold", ":unfolded"])
@pytest.mark.parametrize("name", ["emulated-fp16", "emulated-fp16-fused", "emulated-bf16"])
@pytest.mark.parametrize("behind", ["Conv", "Relu"])
def test_a_batchnorm_in_training_mode_normalises_by_what_it_reads(name, variant, behind, tmp_path):
    """Its stored statistics are far from those of the data; nothing may fold them in."""
    random = np.random.default_rng(8)
    shape = [1, 4, 8, 8]
    weights = {**norm_weights(4, 9), "w": (random.standard_normal((4, 4, 3, 3)) / 3).astype(np.float32)}
    first = node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]) if behind == "Conv" else node("Relu", ["x"], ["c"])
    norm = node("BatchNormalization", ["c", "s", "b", "m", "v"], ["y", "rm", "rv"], epsilon=EPSILON, training_mode=1)
    used = {key: array for key, array in weights.items() if key in norm.input or key in first.input}
    source = make_source(tmp_path, [first, norm], {"x": shape}, ["y"], used)
    x = halves(tuple(shape))
    exact = run("ort-fp32-none", source, {"x": x})["y"]
    mean, deviation = exact.mean((0, 2, 3)), exact.std((0, 2, 3))
    np.testing.assert_allclose(mean, weights["b"], atol=1e-5)
    np.testing.assert_allclose(deviation, weights["s"], rtol=0.01)
    unit = 2.0**-8 if "bf16" in name else 2.0**-11
    np.testing.assert_allclose(run(name + variant, source, {"x": x})["y"], exact, atol=8 * unit)
