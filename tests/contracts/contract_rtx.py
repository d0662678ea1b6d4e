"""NVIDIA's real TensorRT for RTX, bindings and library, installed beside the project and never into it.

It lies under .trueline/contracts, as the bindings of contract_bindings do, and is kept. Its licence is NVIDIA's;
nothing of it becomes part of the project.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from contract_bindings import DUMP, FOLDER, ROOT, Missing, install
from filelock import FileLock

NEWEST, OLDEST = "1.7.1.116", "1.4.0.76"
VERSIONS = (OLDEST, NEWEST)
PACKAGES = ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs")


@cache
def library(version: str) -> Path:
    """Folder of a version, for sys.path; installed on first use.

    Raises:
        Missing: it cannot be had here.
    """
    if sys.platform != "linux":
        raise Missing("its wheels are tried on Linux only")
    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = FOLDER / f"rtx-{version}-py{sys.version_info[0]}{sys.version_info[1]}"
    with FileLock(FOLDER / f"rtx-{version}.lock"):
        if not folder.is_dir():
            draft = FOLDER / f".draft-rtx-{version}-{os.getpid()}"
            install(draft, *(f"{package}=={version}" for package in PACKAGES))
            draft.rename(folder)
    return folder


@cache
def surface_of(version: str) -> dict[str, Any]:
    """Everything that a version's bindings offer, see contract_dump."""
    folder = library(version)
    path = FOLDER / f"rtx-{version}-surface-{hashlib.sha256(DUMP.read_bytes()).hexdigest()[:12]}.json"
    with FileLock(FOLDER / f"rtx-{version}.lock"):
        if not path.is_file():
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
            command = [sys.executable, "-W", "error", str(DUMP), str(path), "tensorrt_rtx_bindings"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
