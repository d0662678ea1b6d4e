"""NVIDIA's real bindings under the adapter, in a process of their own, with libraries in which nothing works."""

from __future__ import annotations

import json
from typing import Any

from contract_bindings import NO_GPU, run_with_bindings
from contract_machine import real

import engines

STARTS = """
import json
from engines.errors import EngineUnavailable
from engines.tensorrt.api import load
from engines.tensorrt.build import _builder
from engines.tensorrt.plugins import load_plugins
from engines.tensorrt.product import TENSORRT
from engines.tensorrt.runtime import load_plan
api = load(TENSORRT)
said = {"version": api.version, "weak": api.weakly_typed, "strong": api.strongly_typed, "errors": []}
for start in (lambda: _builder(api), lambda: load_plan(api, b"plan", "a.plan", "no GPU")):
    try:
        start()
    except EngineUnavailable as error:
        said["errors"].append(str(error))
load_plugins(api, [])
print(json.dumps(said))
"""

ANSWERS = """
import json
import engines
names = [name for name in engines.names() if name.startswith("trt-")]
print(json.dumps([[a.name, a.available, a.detail, a.remedy] for n in names for a in engines.availability(n)]))
"""


def test_the_adapter_loads_the_real_bindings_and_hears_why_tensorrt_does_not_start(version: str) -> None:
    real(version)
    said: dict[str, Any] = json.loads(run_with_bindings(version, ["-c", STARTS]))
    assert said["version"] == version
    assert said["weak"] == (int(version.partition(".")[0]) <= 10)
    assert said["strong"] == (int(version.partition(".")[0]) >= 10)
    assert len(said["errors"]) == 2
    for error in said["errors"]:  # native code called our logger
        assert f"TensorRT {version} does not start: {NO_GPU} | where: tensorrt." in error


def test_availability_names_missing_libraries(version: str) -> None:
    real(version)
    answers = json.loads(run_with_bindings(version, ["-c", ANSWERS], libraries=False))
    assert len(answers) == 5
    for name, available, detail, remedy in answers:
        assert not available, name
        assert detail.startswith("the bindings of TensorRT do not import: libnv")
        assert "cannot open shared object file" in detail
        assert "LD_LIBRARY_PATH" in remedy


def test_availability_names_the_missing_gpu_where_tensorrt_is_there() -> None:
    real("10.13.3.9")
    for _, available, detail, remedy in json.loads(run_with_bindings("10.13.3.9", ["-c", ANSWERS])):
        assert available or "CUDA" in detail
        assert available or "NVIDIA GPU" in remedy


def test_availability_names_missing_bindings() -> None:
    for name in ("trt-fp32", "trt-fp16@cuda:1"):
        (answer,) = engines.availability(name)
        assert answer.available or (answer.detail and answer.remedy)
