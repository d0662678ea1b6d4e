"""NVIDIA's real Python bindings without NVIDIA's libraries: installed, linked to empty libraries, imported, read.

Each version lies in a folder of its own under .trueline/contracts and is kept. The generated libraries export the
symbols that the bindings leave undefined and nothing works in them, but that creating a builder or a runtime logs an
error, as the real library does where it finds no GPU.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".trueline" / "contracts"
DUMP = Path(__file__).with_name("contract_dump.py")
PACKAGES = {
    "8.6.1": "tensorrt-bindings",
    "10.0.1": "tensorrt-cu12-bindings",
    "10.13.3.9": "tensorrt-cu12-bindings",
    "10.16.1.11": "tensorrt-cu12-bindings",
    "11.4.0.106": "tensorrt-cu12-bindings",
}
LIBRARIES = "lib-" + hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
NO_GPU = "CUDA initialization failure with error: 100"
STARTS = ("createInferBuilder_INTERNAL", "createInferRuntime_INTERNAL")
LOG_SLOT = {"8": 0, "10": 0, "11": 4}  # place of ILogger's `log` among its virtual functions, by major version
OF_OTHERS = ("Py", "_Py", "_ITM", "_ZGTt", "__", "dl", "pthread")


class Missing(Exception):
    """Why a version cannot be had here: the reason a test is skipped for."""


@cache
def bindings(version: str) -> Path:
    """Folder of a version, with `site` (the bindings) and the generated libraries; made on first use."""
    for tool in ("gcc", "nm", "readelf"):
        if shutil.which(tool) is None:
            raise Missing(f"{tool} is not installed")
    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = FOLDER / f"trt-{version}-py{sys.version_info[0]}{sys.version_info[1]}"
    with FileLock(FOLDER / f"{version}.lock"):
        if not folder.is_dir():
            draft = FOLDER / f".draft-{version}-{os.getpid()}"
            install(draft / "site", f"{PACKAGES[version]}=={version}")
            draft.rename(folder)
        if not (folder / LIBRARIES).is_dir():
            draft = folder / f".draft-{os.getpid()}"
            _link_libraries(folder / "site" / "tensorrt_bindings" / "tensorrt.so", draft)
            draft.rename(folder / LIBRARIES)
    return folder


@cache
def surface(version: str) -> dict[str, Any]:
    """Everything that a version's bindings offer, see contract_dump."""
    folder = bindings(version)
    path = folder / f"surface-{hashlib.sha256(DUMP.read_bytes()).hexdigest()[:12]}.json"
    with FileLock(FOLDER / f"{version}.lock"):
        if not path.is_file():
            run_with_bindings(version, [str(DUMP), str(path)])
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def install(target: Path, *packages: str) -> None:
    """pip install packages, without what they depend on, into a folder."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target", str(target)]
    done = subprocess.run([*command, *packages], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(target, ignore_errors=True)
        raise Missing(f"pip cannot install {' '.join(packages)}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")


def run_with_bindings(version: str, arguments: list[str], *, libraries: bool = True) -> str:
    """Run Python where `tensorrt_bindings` is a real version, and return what it prints."""
    folder = bindings(version)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT)])}
    if libraries:
        environment["LD_LIBRARY_PATH"] = str(folder / LIBRARIES)
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _link_libraries(extension: Path, folder: Path) -> None:
    """One library per SONAME of NVIDIA's that the extension needs, each with all symbols that it leaves undefined."""
    folder.mkdir(parents=True)
    needed = re.findall(r"\[(libnv\w+\.so\.\d+)\]", _said("readelf", "--dynamic", str(extension)))
    undefined = [line.split()[-1] for line in _said("nm", "-D", "--undefined-only", str(extension)).splitlines()]
    symbols = [name for name in undefined if "@" not in name and not name.startswith(OF_OTHERS)]
    source = folder / "empty.c"
    slot = LOG_SLOT[needed[0].rpartition(".")[2]]
    source.write_text("\n".join(_function(symbol, slot) for symbol in symbols), encoding="utf-8")
    for soname in needed:
        _said("gcc", "-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", str(folder / soname), str(source))


def _function(symbol: str, log_slot: int) -> str:
    """A function that returns null; one that starts TensorRT first calls `log(severity 1, text)` of its logger."""
    if symbol not in STARTS:
        return f"void *{symbol}(void) {{ return 0; }}"
    log = f"(*(void (***)(void *, int, const char *))logger)[{log_slot}]"
    return f'void *{symbol}(void *logger, int version) {{ {log}(logger, 1, "{NO_GPU}"); return 0; }}'


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
