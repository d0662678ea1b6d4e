"""OpenVINO in the precisions of this processor; skipped, with the reason, where it or the precision is not there."""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from engine_models import inputs_of
from onnx import TensorProto, helper

import engines
import engines.openvino as adapter
from engines.denormals import supported
from engines.errors import EngineCrashed, EngineOptionError, EngineUnavailable, ModelLoadError
from engines.protocol import ModelSource, TensorSpec
from harness.run.rungs import build_tree


def wanted(name: str) -> str:
    """The name, or a skip that says why it does not run here."""
    (answer,) = engines.availability(name)
    if not answer.available:
        pytest.skip(answer.detail)
    return name


def graph_of(tmp_path, *nodes, size=4096):
    """A source for a graph from `x` to `y`, both float32 [1, size]."""
    ends = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, size])] for n in "xy"]
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [1], [80.0])
    graph = helper.make_graph(list(nodes), "graph", *ends, [scale])
    path = tmp_path / "graph.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return ModelSource("graph", tmp_path, (TensorSpec("x", (1, size)),), ("y",), onnx=path, cache=tmp_path / "cache")


def square(tmp_path):
    return graph_of(tmp_path, helper.make_node("Mul", ["x", "x"], ["y"]))


@pytest.mark.parametrize(("precision", "element"), [("fp32", "f32"), ("fp16", "f16"), ("bf16", "bf16")])
def test_convolutions_run_in_the_precision_of_the_name(shared_cards, precision, element):
    source = shared_cards("Lanes")
    engine = engines.open(wanted(f"openvino-{precision}"), source, threads=1)
    counted = engine.provenance["operator_precision"]
    assert counted[element] >= 2, "the convolution and the product with the head's weights"
    assert engine.provenance["precision"] == {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[precision]
    if precision == "fp32":
        assert set(counted) == {"f32"}


def test_each_precision_is_coarser_than_the_one_above(shared_cards):
    source = shared_cards("Lanes")
    want = engines.open("torch-fp32", source).infer(inputs_of(source))["lines"]

    def error(precision):
        got = engines.open(wanted(f"openvino-{precision}"), source, threads=1).infer(inputs_of(source))["lines"]
        return np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2))

    assert error("fp32") < 1e-6 < 30 * error("fp32") < error("fp16") < error("bf16") < 2e-2


def test_fp16_overflows_where_the_onnx_runtime_cpu_provider_does_not(tmp_path):
    nodes = [helper.make_node("Mul", ["x", "scale"], ["a"]), helper.make_node("Mul", ["a", "x"], ["y"])]
    source = graph_of(tmp_path, *nodes)
    x = {"x": np.full((1, 4096), 80, np.float32)}
    assert np.isinf(engines.open(wanted("openvino-fp16"), source).infer(x)["y"]).all()
    assert (engines.open("openvino-fp32", source).infer(x)["y"] == 512_000).all()


DENORMAL_PROBE = """
import sys, numpy as np, engines
from engines.denormals import flushed
from engines.errors import EngineUnavailable
from engines.protocol import ModelSource, TensorSpec
from pathlib import Path

root, mode, other = Path(sys.argv[1]), *sys.argv[2:]
source = ModelSource("graph", root, (TensorSpec("x", (1, 4096)),), ("y",), onnx=root / "graph.onnx", cache=root)
x = {"x": np.full((1, 4096), 1e-20, np.float32)}  # its square is denormal
for _ in range(2):
    engine = engines.open("openvino-fp32", source, denormals=mode, threads=1)
    assert not flushed(), "compiling changed the calling thread"
    assert (engine.infer(x)["y"] == 0).all() == (mode == "flush")
    assert engine.provenance["denormals"] == mode
    assert not flushed(), "inference changed the calling thread"
    engine.close()
try:
    engines.open("openvino-fp32", source, denormals=other)
except EngineUnavailable as error:
    assert f"already {mode} denormals" in error.what, error.what
    assert "process of its own" in error.remedy
else:
    raise AssertionError("the other treatment is not refused")
"""


@pytest.mark.skipif(not supported(), reason="the calling thread's flag cannot be set here")
@pytest.mark.parametrize("mode", ["flush", "keep"])
def test_denormals_are_treated_as_the_first_engine_of_the_process_asked(tmp_path, mode):
    wanted("openvino-fp32")
    square(tmp_path)
    other = {"flush": "keep", "keep": "flush"}[mode]
    done = subprocess.run(
        [sys.executable, "-c", DENORMAL_PROBE, str(tmp_path), mode, other], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_threads_are_fixed_and_recorded(tmp_path):
    assert engines.open(wanted("openvino-fp32"), square(tmp_path), threads=1).provenance["threads"] == 1


def test_an_output_that_is_the_input_is_a_copy(tmp_path):
    source = graph_of(tmp_path, helper.make_node("Identity", ["x"], ["y"]))
    engine = engines.open(wanted("openvino-fp32"), source)
    x = np.zeros((1, 4096), np.float32)
    y = engine.infer({"x": x})["y"]
    x += 1
    engine.infer({"x": x})
    assert (y == 0).all()


def test_a_file_that_is_no_model_is_one_line(tmp_path):
    source = square(tmp_path)
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(source.onnx.read_bytes()[:40])
    (tmp_path / "other").mkdir()
    unknown = graph_of(tmp_path / "other", helper.make_node("Unheard", ["x"], ["y"]))
    said = {torn: ".", unknown.onnx: "OpenVINO cannot load it", tmp_path / "absent.onnx": "."}
    for path, what in said.items():
        with pytest.raises(ModelLoadError, match=what) as caught:
            engines.open(wanted("openvino-fp32"), replace(source, onnx=path))
        assert str(path) in caught.value.where
        assert "\n" not in str(caught.value)


def test_a_closed_engine_says_so(tmp_path):
    engine = engines.open(wanted("openvino-fp32"), square(tmp_path))
    engine.close()
    with pytest.raises(EngineCrashed, match="closed"):
        engine.infer({"x": np.zeros((1, 4096), np.float32)})


def test_options_have_values_they_can_take(tmp_path):
    with pytest.raises(EngineOptionError, match="denormals 'perhaps'"):
        engines.open("openvino-fp32", square(tmp_path), denormals="perhaps")
    (answer,) = engines.availability("openvino-fp32@cuda")
    assert not answer.available
    assert "CPU only" in answer.detail


def test_a_processor_without_the_precision_is_told_apart(tmp_path, monkeypatch):
    facts = {"OPTIMIZATION_CAPABILITIES": ["FP32", "INT8"], "FULL_DEVICE_NAME": "Old CPU "}
    core = type("Core", (), {"get_property": lambda self, device, key: facts[key]})
    monkeypatch.setattr(adapter, "_core", core)
    for precision, needs in (("fp16", "AVX512-FP16"), ("bf16", "AMX-BF16")):
        (answer,) = engines.availability(f"openvino-{precision}")
        assert not answer.available
        assert "(Old CPU) does not compute in" in answer.detail
        assert needs in answer.remedy
        with pytest.raises(EngineUnavailable, match="does not compute in"):
            engines.open(f"openvino-{precision}", square(tmp_path))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    adapter._core.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)
    (answer,) = engines.availability("openvino-fp32")
    assert not answer.available
    assert "trueline[openvino]" in answer.remedy
    with pytest.raises(EngineUnavailable, match="does not import"):
        engines.open("openvino-fp32", square(tmp_path))


def test_the_module_does_not_load_the_library_before_it_is_asked_to():
    code = "import sys, engines.openvino; assert 'openvino' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


REPORTING_PACKAGE = """
class Telemetry:
    def __init__(self, **settings): self.backend = type("Backend", (), {"app_name": settings.get("app_name")})
    def __getattr__(self, name): return lambda *what: print("REPORTED", name, *what)
"""
WATCHED = """
import os, sys
from pathlib import Path

root, plain = Path(sys.argv[1]), sys.argv[2] == "plain"

def watch(event, arguments):
    if event.startswith("socket.") or event in ("os.fork", "os.posix_spawn", "subprocess.Popen"):
        print("REPORTED", event, arguments)

sys.addaudithook(watch)
if plain:
    import openvino
    raise SystemExit
import numpy as np, engines
from engines.protocol import ModelSource, TensorSpec

assert all(answer.available for answer in engines.availability("openvino-fp32"))
source = ModelSource("graph", root, (TensorSpec("x", (1, 4096)),), ("y",), onnx=root / "graph.onnx", cache=root)
engine = engines.open("openvino-fp32", source, threads=1)
assert (engine.infer({"x": np.full((1, 4096), 3, np.float32)})["y"] == 9).all()
engine.close()
print("FINISHED", *sorted(name for name in sys.modules if name.startswith("openvino_telemetry.")))
"""


def watched(tmp_path, how, *paths):
    """What a process printed that imports OpenVINO, plainly or through the engine, in a home of its own."""
    home = Path(tempfile.mkdtemp(dir=tmp_path))
    kept = {k: v for k, v in os.environ.items() if k not in ("CI", "TF_BUILD", "JENKINS_URL")}
    path = os.pathsep.join([*map(str, paths), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path), how],
        env={**kept, "HOME": str(home), "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, list(home.iterdir())


def test_nothing_is_reported_to_anybody(tmp_path):
    """OpenVINO reports its import unless its telemetry is missing; a package in its place tells that it would have."""
    wanted("openvino-fp32")
    square(tmp_path)
    package = tmp_path / "fake" / "openvino_telemetry"
    (package / "backend").mkdir(parents=True)
    (package / "__init__.py").write_text(REPORTING_PACKAGE)
    (package / "backend" / "__init__.py").touch()
    (package / "backend" / "backend_ga4.py").touch()
    seen, _ = watched(tmp_path, "plain", package.parent)
    assert "REPORTED send_event ov import" in seen, "this test would not notice a report"
    for paths in ((package.parent,), ()):
        seen, written = watched(tmp_path, "engine", *paths)
        assert seen.strip() == "FINISHED"
        assert written == []


def test_the_ladder_separates_the_runtime_from_the_precision():
    rungs = build_tree("deploy/ort-fp32", ["openvino-fp32", "openvino-fp16", "openvino-bf16"], ["deploy"])
    assert [(r.engine, r.parent, r.factors) for r in rungs[1:]] == [
        ("openvino-fp32", "deploy/ort-fp32", ("runtime:openvino",)),
        ("openvino-fp16", "deploy/openvino-fp32", ("precision:fp16",)),
        ("openvino-bf16", "deploy/openvino-fp32", ("precision:bf16",)),
    ]
