"""Everything that needs an NVIDIA GPU, in one command of at most six minutes; its JSON is kept under docs/hardware.

    python -m benchmarks.gpu --out FILE [--inputs DIR] [--steps machine,mma] [--slack 2]

Real engines on the GPU (PyTorch, ONNX Runtime, TensorRT for RTX) against every emulation of the same precision, on the
demo model and TwinLiteNet: share of equal bits, ratios of RMS error and bend, rank correlation. Single mma.sync
instructions against `emulated-mma-*`. Whether a portable plan runs on this GPU.

Every step is a process of its own with a time limit, and one that fails stops no other. FILE is written after each; the
same command goes on where it stopped, and tries again what did not end well. `--inputs` has cases in `roadlines/` and
`twinlitenet/`, as `benchmarks/gpu.sh pack` puts them there. Without a GPU every step says what is missing.

Run on an H200 in part: docs/hardware says what.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trueline import TruelineError

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "tensorrt-rtx", "tensorrt", "numba", "numpy", "trueline")
CARDS = {"roadlines": "examples/roadlines/robust.toml", "twinlitenet": "examples/twinlitenet/torch.toml"}
FAMILIES = {
    "torch": ("torch-fp32@cuda", "torch-tf32", "torch-fp16@cuda", "torch-bf16@cuda"),
    "ort": ("ort-cuda-fp32", "ort-cuda-tf32"),
    "trtrtx": ("trtrtx-fp32", "trtrtx-tf32", "trtrtx-fp16", "trtrtx-bf16"),
}
GRACE_S = 5.0  # between asking a step to end and killing it


class NotHere(Exception):
    """What a step needs is not on this machine."""


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step: how long it may take, and what it does; it gets the folder of inputs and returns JSON values."""

    limit_s: float
    run: Callable[[Path | None], Any]


def machine(inputs: Path | None) -> Any:
    """Versions, processor, and GPU as PyTorch and nvidia-smi see it."""
    facts: dict[str, Any] = {"python": platform.python_version(), "cpu": platform.processor() or platform.machine()}
    facts["packages"] = {name: found for name in PACKAGES if (found := _version(name))}
    torch = _torch_with_cuda()
    facts["gpu"], facts["capability"] = torch.cuda.get_device_name(), list(torch.cuda.get_device_capability())
    facts["cuda"] = torch.version.cuda
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    facts["nvidia_smi"] = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return facts


def mma(inputs: Path | None) -> Any:
    """Every mma.sync instruction of the GPU against the emulated step."""
    from benchmarks.gpu_mma import on_this_gpu

    _torch_with_cuda()
    return dict(on_this_gpu())


def portable(inputs: Path | None) -> Any:
    """Whether plans that TensorRT for RTX makes for all GPUs, and for sm80 ones, run on this one."""
    import engines
    from benchmarks.mma import frame_of
    from harness.model.card import load_card

    torch = _torch_with_cuda()
    card = load_card(ROOT / CARDS["roadlines"])
    found: dict[str, Any] = {"capability": list(torch.cuda.get_device_capability())}
    for target in ("portable", "sm80"):
        try:
            outputs = engines.open("trtrtx-fp32", card.source(), target=target).infer(frame_of(card))
            found[target] = {"runs": True, "outputs": sorted(outputs)}
        except TruelineError as error:
            found[target] = {"runs": False, "reason": str(error)}
    return found


def compared(subject: str, family: str, inputs: Path | None) -> Any:
    """Real engines of a family on a model, against every emulation of the same precision."""
    from benchmarks.gpu_compare import compare_engines
    from harness.model.card import load_card

    card = load_card(ROOT / CARDS[subject])
    if card.torch is not None and card.torch.weights is not None and not card.torch.weights.is_file():
        raise NotHere(f"no weights at {card.torch.weights}")
    torch = _torch_with_cuda()
    major, minor = torch.cuda.get_device_capability()
    with tempfile.TemporaryDirectory() as folder:
        cases = _cases(subject, inputs, Path(folder))
        return compare_engines(card, cases, FAMILIES[family], 10 * major + minor, Path(folder))


STEPS: dict[str, StepSpec] = {
    "machine": StepSpec(20, machine),
    "mma": StepSpec(45, mma),
    "portable": StepSpec(30, portable),
    **{
        f"{subject}-{family}": StepSpec(limit, partial(compared, subject, family))
        for subject, limit in (("roadlines", 35), ("twinlitenet", 53))
        for family in FAMILIES
    },
}


def run_steps(
    names: Sequence[str], out: Path, command: Callable[[str, Path], Sequence[str]], limits_s: Mapping[str, float]
) -> dict[str, Any]:
    """Run what FILE does not have yet, one child process a step; FILE is whole after each.

    Args:
        names: of steps, in order.
        out: JSON file; an existing one is gone on with.
        command: step, file for its result -> the child's command line.
        limits_s: of each step.
    """
    record = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {"schema": 1, "steps": {}}
    for name in names:
        if record["steps"].get(name, {}).get("status") == "ok":
            continue
        print(f"{name} ...", end=" ", flush=True)
        record["steps"][name] = _run_child(name, command, limits_s[name])
        _write(out, record)
        print(record["steps"][name]["status"], record["steps"][name].get("reason", ""), flush=True)
    return record


def _run_child(name: str, command: Callable[[str, Path], Sequence[str]], limit_s: float) -> dict[str, Any]:
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        child = subprocess.Popen(
            command(name, result), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        try:
            told, _ = child.communicate(timeout=limit_s)
            late = False
        except subprocess.TimeoutExpired:
            told, late = _end(child), True
        seconds = round(time.monotonic() - start, 1)
        if late:
            return {
                "status": "timeout",
                "seconds": seconds,
                "reason": f"longer than {limit_s:.0f} s",
                "told": _tail(told),
            }
        if child.returncode or not result.is_file():
            reason = f"exit code {child.returncode}"
            return {"status": "failed", "seconds": seconds, "reason": reason, "told": _tail(told)}
        return {"seconds": seconds, **json.loads(result.read_text(encoding="utf-8"))}


def _end(child: subprocess.Popen[str]) -> str:
    """End a child and what it started; what it printed."""
    os.killpg(child.pid, signal.SIGTERM)
    try:
        return child.communicate(timeout=GRACE_S)[0]
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return child.communicate()[0]


def _do(name: str, inputs: Path | None, result: Path) -> None:
    """The child's side: one step, its result in a file."""
    try:
        found = {"status": "ok", "result": STEPS[name].run(inputs)}
    except (NotHere, TruelineError) as error:
        found = {"status": "not here" if isinstance(error, NotHere) else "failed", "reason": str(error)}
    _write(result, found)


def _write(path: Path, values: Any) -> None:
    """In one rename."""
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(values, indent=1), encoding="utf-8")
    draft.replace(path)


def _tail(text: str, lines: int = 12) -> list[str]:
    return text.splitlines()[-lines:]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _torch_with_cuda() -> Any:
    import torch

    if not torch.cuda.is_available():
        raise NotHere(f"this PyTorch ({torch.__version__}) sees no CUDA GPU")
    return torch


def _cases(subject: str, inputs: Path | None, folder: Path) -> list[Path]:
    """Cases of a model: those of the parcel, or for the demo model synthetic ones."""
    from cases.case import find_cases
    from cases.synth import synth_cases

    if inputs is not None and (inputs / subject).is_dir():
        return list(find_cases([inputs / subject]))
    if subject != "roadlines":
        raise NotHere(f"no inputs of {subject}; give --inputs as benchmarks/gpu.sh pack makes it")
    return list(synth_cases(9000, 2, 1.0, folder / "cases"))


def main() -> None:
    """The steps asked for, or one of them as a child."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--inputs", type=Path)
    parser.add_argument("--steps", default=",".join(STEPS), help="joined by commas; default all")
    parser.add_argument("--slack", type=float, default=1.0, help="every step's time limit times this")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options, _ = parser.parse_known_args()
    if options.out is None:
        print("usage: python -m benchmarks.gpu --out FILE [--inputs DIR] [--steps machine,mma]")
        return
    if options.child:
        _do(options.child, options.inputs, options.out)
        return
    names = options.steps.split(",")
    if unknown := [name for name in names if name not in STEPS]:
        parser.error(f"no step {unknown[0]!r}; there are {', '.join(STEPS)}")
    extra = ["--inputs", str(options.inputs.resolve())] if options.inputs else []

    def command(name: str, result: Path) -> list[str]:
        return [sys.executable, "-m", "benchmarks.gpu", "--child", name, "--out", str(result), *extra]

    out = options.out.resolve()
    os.chdir(ROOT)
    run_steps(names, out, command, {name: options.slack * spec.limit_s for name, spec in STEPS.items()})
    print(f"written: {out}")


if __name__ == "__main__":
    main()
