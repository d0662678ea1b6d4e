"""A computer with a fake TensorRT, and the adapter's source read for what it asks of TensorRT."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest
from contract_bindings import FOLDER, PACKAGES, ROOT, Missing, install, surface
from contract_fakes import Recording
from contract_host import HostDevice
from contract_rtx import VERSIONS, library, surface_of
from contract_uses import Uses, uses_of
from contract_world import World
from filelock import FileLock

import engines
from engines.protocol import Engine, ModelSource

MODELOPT = (  # ModelOpt, and what importing its AutoCast imports beyond the project's own dependencies
    "nvidia-modelopt==0.47.0",
    "lief==1.0.0",
    "nvidia-ml-py==13.615.71",
    "onnx-graphsurgeon==0.6.1",
    "onnxslim==0.1.98",
    "polygraphy==0.53.6",
    "tqdm==4.70.1",
)
ADAPTER = sorted((ROOT / "engines" / "tensorrt").glob("*.py"))


def real(version: str) -> dict[str, Any]:
    """A version's surface; where it cannot be had, the test skips and says why, or fails if it is required."""
    try:
        return surface_of(version) if version in VERSIONS else surface(version)
    except Missing as missing:
        unmet(f"TensorRT {version}: {missing}")


def unmet(reason: str) -> NoReturn:
    """What a test needs is not here: a skip, or a failure where TRUELINE_CONTRACTS=required."""
    if os.environ.get("TRUELINE_CONTRACTS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def rtx(version: str) -> Path:
    """Folder of a version of TensorRT for RTX; where it cannot be had, the test skips, or fails if it is required."""
    try:
        return library(version)
    except Missing as missing:
        unmet(f"TensorRT for RTX {version}: {missing}")


@contextmanager
def rtx_here(patch: pytest.MonkeyPatch, version: str) -> Iterator[Path]:
    """TensorRT for RTX can be imported in this process and in its children; afterwards nothing finds it any more."""
    folder = rtx(version)
    patch.syspath_prepend(folder)
    sys.modules.update(_LOADED)  # its libraries are loaded once for the life of the process
    yield folder
    _LOADED.update({name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("tensorrt_rtx")})


_LOADED: dict[str, ModuleType] = {}


def run_with_library(version: str, arguments: list[str], **environment: str) -> str:
    """Run Python where `tensorrt_rtx_bindings` is a real version, and return what it prints."""
    places = {"PYTHONPATH": os.pathsep.join([str(rtx(version)), str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **places, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def modelopt_folder() -> Path:
    """Folder of ModelOpt and what its AutoCast imports, for sys.path; installed on first use."""
    folder = FOLDER / "modelopt-0.47.0"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / "modelopt.lock"):
        if not folder.is_dir():
            draft = FOLDER / f".draft-modelopt-{os.getpid()}"
            try:
                install(draft, *MODELOPT)
            except Missing as missing:
                unmet(f"ModelOpt: {missing}")
            draft.rename(folder)
    return folder


@cache
def adapter_uses() -> Uses:
    """Everything that the adapter asks of TensorRT, by its source."""
    return uses_of(ADAPTER, real("11.4.0.106") | {"classes": _all_classes()})


def _all_classes() -> dict[str, Any]:
    """Classes of every version, the newest's form first: what a method returns does not depend on the version here."""
    found: dict[str, Any] = {}
    for version in (*reversed(PACKAGES), VERSIONS[-1]):
        found = {**real(version)["classes"], **found}
    return found


@dataclass
class Machine:
    """A computer with a TensorRT and a GPU."""

    world: World
    device: HostDevice
    record: Recording

    @property
    def trt(self) -> Any:
        """The bindings' names, for tests; asking here is not recorded."""
        return self.world.trt

    @property
    def version(self) -> str:
        return self.world.version

    @property
    def major(self) -> int:
        return self.world.major

    def open(self, name: str, source: ModelSource, **options: Any) -> Engine:
        return engines.open(name, source, **options)
