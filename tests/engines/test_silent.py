"""No runtime reports anything: watched below Python, at the calls that open a connection or ask for a name."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

ROOT = Path(__file__).parents[2]
RUNTIMES = ("onnxruntime", "openvino")
WATCH = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static void told(const char *what) {
    FILE *file = fopen(getenv("WATCH_LOG"), "a");
    if (file) { fprintf(file, "%s\n", what); fclose(file); }
}
int connect(int s, const struct sockaddr *a, socklen_t n) {
    if (a && (a->sa_family == AF_INET || a->sa_family == AF_INET6)) told("connect");
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    return real(s, a, n);
}
int getaddrinfo(const char *h, const char *s, const struct addrinfo *i, struct addrinfo **r) {
    told(h ? h : "getaddrinfo");
    typedef int (*lookup)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    return ((lookup)dlsym(RTLD_NEXT, "getaddrinfo"))(h, s, i, r);
}
"""
RUN = """
import sys, time
from pathlib import Path
import numpy as np
import engines
from engines.protocol import ModelSource, TensorSpec
root, name, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
source = ModelSource("graph", root, (TensorSpec("x", (1, 4)),), ("y",), onnx=root / "graph.onnx", cache=root)
engine = engines.open(name, source)
end = time.monotonic() + seconds
while time.monotonic() < end:
    engine.infer({"x": np.ones((1, 4), np.float32)})
    time.sleep(0.2)
engine.close()
"""


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that tells every connection and every name that is asked for."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler on Linux")
    folder = tmp_path_factory.mktemp("watch")
    (folder / "watch.c").write_text(WATCH)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "watch.so", folder / "watch.c", "-ldl"], check=True)
    return folder / "watch.so"


def watched(watch: Path, folder: Path, code: str, *arguments: str) -> tuple[list[str], list[Path]]:
    """What a process of its own home asked of the network, and what it wrote into that home."""
    home, log = folder / "home", folder / "log"
    home.mkdir()
    log.touch()
    kept = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY" and not k.startswith("XDG_")}
    known = {"HOME": str(home), "LD_PRELOAD": str(watch), "WATCH_LOG": str(log), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=kept | known, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return log.read_text().splitlines(), [p for p in home.rglob("*") if p.is_file()]


def graph(folder: Path) -> None:
    made = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "graph.onnx")


def test_the_watch_sees_a_name_that_is_asked_for(watch: Path, tmp_path: Path) -> None:
    asked, _ = watched(
        watch, tmp_path, "import socket\ntry: socket.getaddrinfo('nobody.invalid', 1)\nexcept OSError: 0"
    )
    assert "nobody.invalid" in asked


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ort-fp32", "emulated-fp16", "openvino-fp32"])
def test_an_engine_asks_nobody_and_leaves_no_trace(watch: Path, tmp_path: Path, name: str) -> None:
    if name.startswith("openvino"):
        pytest.importorskip("openvino")
    graph(tmp_path)
    asked, written = watched(watch, tmp_path, RUN, str(tmp_path), name, "4")
    assert asked == []
    assert written == []


def test_only_one_module_imports_the_runtimes_that_report() -> None:
    for package in ("cases", "engines", "harness", "techniques", "trueline"):
        for module in (ROOT / package).rglob("*.py"):
            tree = ast.walk(ast.parse(module.read_text()))
            names = {alias.name.split(".")[0] for n in tree if isinstance(n, ast.Import) for alias in n.names}
            assert module.name == "silent.py" or not names & set(RUNTIMES), module
