from dataclasses import replace

import numpy as np
import onnx
import pytest
from engine_models import inputs_of
from onnx import TensorProto, helper

import engines
from engines.denormals import flushed, supported
from engines.errors import EngineCrashed, EngineOptionError, EngineOutputMissing, EngineUnavailable, ModelLoadError
from engines.io_check import check_io, onnx_io
from engines.protocol import ModelSource, TensorSpec


def graph_source(tmp_path, nodes, inputs, outputs, initializers=(), name="graph"):
    """A source for a graph written by hand; every tensor float32 of the given shape."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        name,
        [info(n, TensorProto.FLOAT, shape) for n, shape in inputs.items()],
        [info(n, TensorProto.FLOAT, shape) for n, shape in outputs.items()],
        list(initializers),
    )
    path = tmp_path / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    specs = tuple(TensorSpec(n, tuple(shape)) for n, shape in inputs.items())
    return ModelSource(name, tmp_path, specs, tuple(outputs), onnx=path, cache=tmp_path / "cache")


@pytest.fixture
def product(tmp_path):
    """y = x * x, on 4096 numbers."""
    node = helper.make_node("Mul", ["x", "x"], ["y"])
    return graph_source(tmp_path, [node], {"x": [1, 4096]}, {"y": [1, 4096]}, name="product")


def test_the_none_rung_keeps_the_graph_and_the_other_optimises_it(shared_cards):
    source = shared_cards("Lanes")
    none, full = (engines.open(name, source).provenance for name in ("ort-fp32-none", "ort-fp32"))
    assert (none["graph_optimisation"], full["graph_optimisation"]) == ("none", "all")
    assert none["model_sha256"] != full["model_sha256"]


@pytest.mark.skipif(not supported(), reason="the calling thread's flag cannot be set here")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("order", [("flush", "keep"), ("keep", "flush")])
def test_each_session_treats_denormals_as_it_was_asked_whichever_came_first(product, order, threads):
    x = {"x": np.full((1, 4096), 1e-20, np.float32)}  # its square is denormal
    opened = {mode: engines.open("ort-fp32", product, denormals=mode, threads=threads) for mode in order}
    assert (opened["keep"].infer(x)["y"] > 0).all()
    assert (opened["flush"].infer(x)["y"] == 0).all()
    assert (opened["keep"].infer(x)["y"] > 0).all()
    assert not flushed()


def test_threads_are_fixed_and_recorded(shared_cards):
    source = shared_cards("Lanes")
    assert engines.open("ort-fp32", source, threads=1).provenance["threads"] == 1
    default = engines.open("ort-fp32", source).provenance["threads"]
    assert default >= 1
    assert engines.open("ort-fp32", source).provenance["threads"] == default


def test_an_output_that_is_the_input_is_a_copy(tmp_path):
    node = helper.make_node("Identity", ["x"], ["y"])
    source = graph_source(tmp_path, [node], {"x": [1, 8]}, {"y": [1, 8]})
    engine = engines.open("ort-fp32", source)
    x = np.zeros((1, 8), np.float32)
    y = engine.infer({"x": x})["y"]
    x += 1
    assert (y == 0).all()


def test_a_closed_engine_says_so(product):
    engine = engines.open("ort-fp32", product)
    engine.close()
    with pytest.raises(EngineCrashed, match="closed"):
        engine.infer({"x": np.zeros((1, 4096), np.float32)})


def test_a_failing_run_is_a_crash_with_one_line(tmp_path):
    node = helper.make_node("Gather", ["x", "i"], ["y"])
    where = helper.make_tensor("i", TensorProto.INT64, [1], [99])
    source = graph_source(tmp_path, [node], {"x": ["n"]}, {"y": [1]}, [where])
    engine = engines.open("ort-fp32", source)
    with pytest.raises(EngineCrashed, match="ONNX Runtime failed") as caught:
        engine.infer({"x": np.zeros(3, np.float32)})
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_model_is_one_line(product, tmp_path):
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(product.onnx.read_bytes()[:40])
    unknown = graph_source(
        tmp_path, [helper.make_node("Unheard", ["x"], ["y"])], {"x": [1]}, {"y": [1]}, name="unknown"
    )
    for path in (torn, unknown.onnx, tmp_path / "absent.onnx"):
        with pytest.raises(ModelLoadError) as caught:
            engines.open("ort-fp32", replace(product, onnx=path))
        assert str(path) in caught.value.where
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelLoadError, match="no ONNX model"):
        onnx_io(torn)


def test_a_plugin_that_is_not_there_is_named(product, tmp_path):
    with pytest.raises(ModelLoadError) as caught:
        engines.open("ort-fp32", replace(product, plugins=(tmp_path / "ops.so",)))
    assert "ops.so" in caught.value.where


@pytest.mark.parametrize(
    ("changes", "error", "what", "remedy"),
    [
        ({"inputs": (TensorSpec("x", (1, 4095)),)}, ModelLoadError, "float32 [1, 4095] in the card", "[[inputs]]"),
        ({"inputs": (TensorSpec("x", (4096,)),)}, ModelLoadError, "float32 [1, 4096] in the model", "[[inputs]]"),
        ({"inputs": (TensorSpec("x", (1, 4096), "uint8"),)}, ModelLoadError, "uint8 [1, 4096] in the card", "dtype"),
        ({"inputs": (TensorSpec("z", (1, 4096)),)}, ModelLoadError, "feeds input 'z'", "inputs ['x']"),
        ({"inputs": ()}, ModelLoadError, "needs input 'x'", "the card feeds []"),
        ({"outputs": ("lines",)}, EngineOutputMissing, "no output 'lines'", "it has ['y']"),
    ],
)
def test_a_card_that_contradicts_the_model_names_both_sides(product, changes, error, what, remedy):
    source = replace(product, **changes)
    with pytest.raises(error) as caught:
        engines.open("ort-fp32", source)
    assert what in caught.value.what
    assert remedy in caught.value.remedy
    inputs, outputs = onnx_io(product.onnx)
    with pytest.raises(error):
        check_io(source, inputs, [o.name for o in outputs], "file")


def test_dynamic_dimensions_fit_any_size(product):
    check_io(replace(product, inputs=(TensorSpec("x", ("n", 4096)),)), [TensorSpec("x", (1, "m"))], ["y"], "file")


def test_options_have_values_they_can_take(product):
    with pytest.raises(EngineOptionError, match="denormals"):
        engines.open("ort-fp32", product, denormals="perhaps")


def test_a_card_without_a_model_cannot_run(product):
    with pytest.raises(EngineUnavailable, match="neither"):
        engines.open("ort-fp32", replace(product, onnx=None))


def test_infer_adds_little_to_a_bare_run(product):
    """The replay's budget on a 0.13 ms model leaves no room for more; the limit is wide because machines are busy."""
    import time

    engine = engines.open("ort-fp32", product, threads=1)
    inputs = {"x": np.ones((1, 4096), np.float32)}

    def best_ns(call):
        def once():
            start = time.perf_counter_ns()
            for _ in range(200):
                call()
            return (time.perf_counter_ns() - start) / 200

        return min(once() for _ in range(20))

    bare_ns = best_ns(lambda: engine._session.run(["y"], inputs))
    assert best_ns(lambda: engine.infer(inputs)) - bare_ns < 15_000


def test_the_published_lane_model_opens_in_both_engines(shared_data, tmp_path):
    path = shared_data / "models" / "twinlitenet.onnx"
    if not path.is_file():
        pytest.skip(f"no {path}")
    source = ModelSource(
        "twinlitenet", tmp_path, (TensorSpec("images", (1, 3, 360, 640)),), ("da", "ll"), onnx=path, cache=tmp_path
    )
    inputs = inputs_of(source)
    none, full = (engines.open(name, source).infer(inputs) for name in ("ort-fp32-none", "ort-fp32"))
    assert none["ll"].shape == full["ll"].shape == (1, 2, 360, 640)
    np.testing.assert_allclose(none["ll"], full["ll"], rtol=1e-3, atol=1e-3)
