"""Names, options, cache and cost of the emulated engines."""

import time
from importlib.util import find_spec

import numpy as np
import pytest
from graphs import make_source, node, overflow

import engines
from engines import emulated
from engines.errors import EngineOptionError, ModelLoadError
from engines.protocol import ModelSource, TensorSpec
from engines.table import TABLE

# those of tensor cores need numba
NAMES = [
    name
    for name in TABLE
    if name.startswith("emulated-")
    and (find_spec("numba") or "mma" not in name)
    and not name.endswith("-plan")  # of NVIDIA's compiler, which tests/contracts installs
]


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("emulated-tf32", ("rounding", "rne")),
        ("emulated-tf32:rz", ("rounding", "rz")),
        ("emulated-fp16", ("chunk", 0)),
        ("emulated-fp16:chunk8", ("chunk", 8)),
        ("emulated-fp16-fused", ("fused", True)),
        ("emulated-fp16", ("batchnorm", "folded")),
        ("emulated-fp16:unfolded", ("batchnorm", "unfolded")),
        ("emulated-fp16-fused:late-fold", ("batchnorm", "late-fold")),
        ("emulated-bf16:late-fold", ("batchnorm", "late-fold")),
        ("emulated-reorder:5", ("seed", 5)),
    ],
)
def test_the_suffix_of_a_name_chooses_the_variant(name, fact, tmp_path):
    provenance = engines.open(name, overflow(tmp_path)).provenance
    assert provenance[fact[0]] == fact[1]
    assert provenance["precision"].startswith("emulated")
    assert provenance["base_sha256"] != provenance["model_sha256"] or name.startswith(("emulated-tf32", "emulated-re"))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("emulated-tf32:up", {}),
        ("emulated-fp16:chunk0", {}),
        ("emulated-fp16:16", {}),
        ("emulated-bf16:rz", {}),
        ("emulated-tf32:unfolded", {}),
        ("emulated-fp16", {"batchnorm": "never"}),
        ("emulated-fp16:unfolded", {"batchnorm": "folded"}),
        ("emulated-reorder:x", {}),
        ("emulated-tf32:rz", {"rounding": "rna"}),
        ("emulated-tf32", {"rounding": "up"}),
        ("emulated-tf32", {"seed": 1}),
        ("emulated-reorder", {"seed": -1}),
    ],
)
def test_variants_that_do_not_exist_are_refused(name, options, tmp_path):
    with pytest.raises(EngineOptionError):
        engines.open(name, overflow(tmp_path), **options)


@pytest.mark.parametrize(
    "name",
    [
        "emulated-fp16:nonsense",
        "emulated-tf32:up",
        "emulated-bf16:chunk8",
        "emulated-reorder:x",
        "emulated-mma-fp16:no",
    ],
)
def test_a_variant_that_does_not_exist_is_not_available(name):
    (answer,) = engines.availability(name)
    assert not answer.available
    if "mma" not in name or find_spec("numba"):
        assert name in answer.detail


def test_a_graph_is_rewritten_once(tmp_path, monkeypatch):
    source = overflow(tmp_path)
    first = {name: engines.open(name, source).provenance["model_sha256"] for name in NAMES}
    monkeypatch.setattr(emulated, "rewrite", lambda *args: pytest.fail("rewrote a cached graph"))
    assert {name: engines.open(name, source).provenance["model_sha256"] for name in NAMES} == first


def test_the_published_file_is_not_touched(tmp_path):
    source = overflow(tmp_path)
    before = source.onnx.read_bytes()
    for name in NAMES:
        engines.open(name, source)
    assert source.onnx.read_bytes() == before


def test_a_file_that_is_no_model_is_one_line(tmp_path):
    source = overflow(tmp_path)
    source.onnx.write_bytes(source.onnx.read_bytes()[:50])
    for name in NAMES:
        with pytest.raises(ModelLoadError) as caught:
            engines.open(name, source)
        assert "\n" not in str(caught.value)


def test_an_output_that_is_an_input_or_a_weight_keeps_its_name(tmp_path):
    nodes = [node("Identity", ["x"], ["same"]), node("Identity", ["w"], ["fixed"]), node("Relu", ["x"], ["y"])]
    source = make_source(tmp_path, nodes, {"x": [1, 2]}, ["same", "fixed", "y"], {"w": np.float32([1 / 3])})
    outputs = engines.open("emulated-fp16", source).infer({"x": np.float32([[1 / 3, -1]])})
    third = np.float32(np.float16(1 / 3))
    np.testing.assert_array_equal(outputs["same"], [[third, -1]])
    np.testing.assert_array_equal(outputs["fixed"], [third])
    np.testing.assert_array_equal(outputs["y"], [[third, 0]])


def test_emulation_costs_at_most_twice_the_fp32_engine(shared_data, tmp_path):
    """On the published lane model, processor time of one thread, the best of several runs."""
    path = shared_data / "models" / "twinlitenet.onnx"
    if not path.is_file():
        pytest.skip(f"no {path}")
    spec = TensorSpec("images", (1, 3, 360, 640))
    source = ModelSource("twinlitenet", tmp_path, (spec,), ("da", "ll"), onnx=path, cache=tmp_path)
    inputs = {"images": np.random.default_rng(0).random((1, 3, 360, 640), np.float32)}

    def best_s(name):
        engine = engines.open(name, source, threads=1)
        times = []
        for _ in range(5):
            start = time.process_time()
            engine.infer(inputs)
            times.append(time.process_time() - start)
        return min(times)

    plain_s = best_s("ort-fp32")
    for name in ("emulated-fp16", "emulated-tf32"):
        assert best_s(name) <= 2 * plain_s, name
