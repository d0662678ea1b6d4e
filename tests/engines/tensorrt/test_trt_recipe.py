import pytest

import engines
from engines.errors import EngineUnavailable
from engines.protocol import ExportTarget, ModelSource
from engines.table import TABLE
from engines.tensorrt import wants_calibration
from engines.tensorrt.api import Api
from engines.tensorrt.messages import Messages
from engines.tensorrt.opening import export_target
from engines.tensorrt.product import RTX, TENSORRT
from engines.tensorrt.recipe import PRECISIONS, check_precision


class Bindings:
    """Names that two versions have."""

    class BuilderFlag:
        FP16 = 0


def api(version="8.6.1", product=TENSORRT):
    return Api(product, Bindings, version, None, Messages())


def test_every_precision_is_an_engine():
    names = [name for name in TABLE if name.startswith("trt-")]
    assert {TABLE[name].options["precision"] for name in names} == set(PRECISIONS)
    assert all(name == f"trt-{TABLE[name].options['precision']}" for name in names)


def test_the_export_target_nearest_to_the_version_is_taken(tmp_path):
    targets = {"default": ExportTarget(), "trt": ExportTarget(opset=18), "trt-8": ExportTarget(opset=16)}
    source = ModelSource("m", tmp_path, (), (), export={**targets, "trt-8.6": ExportTarget(opset=17)})
    assert export_target(source, api("8.6.1")) == "trt-8.6"
    assert export_target(source, api("10.13.3.9")) == "trt"
    assert export_target(ModelSource("m", tmp_path, (), (), export=targets), api("8.6.1")) == "trt-8"
    assert export_target(ModelSource("m", tmp_path, (), ()), api("8.6.1")) == "default"
    source = ModelSource("m", tmp_path, (), (), export={**targets, "trtrtx-1.7": ExportTarget()})
    assert export_target(source, api("1.7.1.116", RTX)) == "trtrtx-1.7"
    assert export_target(source, api("1.4.0.76", RTX)) == "default"


def test_calibration_is_wanted_where_autocast_may_run(tmp_path):
    strong, weak = (ModelSource("m", tmp_path, (), (), fp16=kind) for kind in ("strong", "weak"))
    wanted = {name: wants_calibration(name, strong) for name in engines.names()}
    assert {name for name, wants in wanted.items() if wants} == {
        "trt-fp16", "trt-bf16", "trtrtx-fp16", "trtrtx-bf16", "emulated-mma-fp16-plan", "emulated-mma-bf16-plan",
    }  # fmt: skip
    assert wants_calibration("trt-fp16@cuda:1", strong)
    assert not any(wants_calibration(name, weak) for name in engines.names())


@pytest.mark.parametrize(
    ("precision", "capability", "runs"),
    [
        ("fp32", (5, 3), True),
        ("fp16", (7, 2), True),
        ("tf32", (7, 5), False),
        ("tf32", (8, 0), True),
    ],
)
def test_a_gpu_must_have_the_precision(precision, capability, runs):
    if runs:
        check_precision("trt-x", precision, api(), capability)
        return
    with pytest.raises(EngineUnavailable, match=f"has no {precision}"):
        check_precision("trt-x", precision, api(), capability)


def test_the_adapter_is_light_to_import():
    import subprocess
    import sys

    code = "import engines.tensorrt, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "onnx", "tensorrt", "engines.tensorrt.opening"} & set(loaded)
