"""What a parcel for a GPU machine holds besides the code; benchmarks/gpu.sh calls this.

    python -m benchmarks.gpu_parcel inputs DIR   # small cases of both models into DIR/inputs, models beside the code
    python -m benchmarks.gpu_parcel wheels       # requirements, one a line, as installed here, without PyTorch

The models and clips of TwinLiteNet are not part of the repository: they are packed where they are at hand.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"  # where examples/twinlitenet looks
CLIPS = ("solid_white_right", "highway_curve", "concrete_bridge")
FRAMES = 3  # of each clip; as pictures, so that the machine needs no video library
LEFT_OUT = ("torch", "nvidia-", "triton", "cuda-")  # the machine has its own
ON_A_GPU = ("onnxruntime-gpu", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs")
EXTRAS = ("cpu", "mma")


def requirements() -> list[str]:
    """Everything that Trueline needs, in the versions installed here, without what the GPU machine has itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = [*project["dependencies"], *(text for e in EXTRAS for text in project["optional-dependencies"][e])]
    found: dict[str, str] = {}
    seen: set[str] = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        key = re.sub(r"[-_.]+", "-", requirement.name).lower()
        extras = ("", *requirement.extras)
        if key in seen or key.startswith(LEFT_OUT):
            continue
        seen.add(key)
        if key != "onnxruntime":  # its build for GPUs takes its place, and needs the same
            found[key] = f"{key}=={version(key)}"
        below = [Requirement(text) for text in requires(key) or []]
        waiting += [str(r) for r in below if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras)]
    return [*sorted(found.values()), *ON_A_GPU]


def pack_inputs(parcel: Path) -> list[str]:
    """Write cases below PARCEL/inputs, and the models where the cards look for them; what was left out, in words."""
    from benchmarks.engines import shortened
    from cases.case import open_case
    from cases.importing import import_case
    from cases.synth import synth_cases

    inputs, left_out = parcel / "inputs", []
    with tempfile.TemporaryDirectory() as folder:
        for case in synth_cases(9000, 2, 1.0, Path(folder)):
            shortened(open_case(case), 4 * FRAMES, inputs / "roadlines")
    models = DATA / "models"
    if not (models / "twinlitenet.pth").is_file():
        return ["TwinLiteNet: no model in shared/data/models beside the repository"]
    (parcel / "shared" / "data" / "models").mkdir(parents=True)
    shutil.copy(models / "twinlitenet.pth", parcel / "shared" / "data" / "models")
    with tempfile.TemporaryDirectory() as folder:
        for clip in CLIPS:
            recording = DATA / "clips" / f"{clip}.mp4"
            if not recording.is_file():
                left_out.append(f"TwinLiteNet: no clip {recording.name}")
                continue
            case = import_case(recording, id=clip, out=Path(folder))
            shortened(open_case(case), FRAMES, inputs / "twinlitenet")
    return left_out


def main() -> None:
    """One of the two."""
    if sys.argv[1:2] == ["wheels"]:
        print("\n".join(requirements()))
    elif sys.argv[1:2] == ["inputs"] and len(sys.argv) == 3:
        print("\n".join(pack_inputs(Path(sys.argv[2]))), file=sys.stderr)
    else:
        print("usage: python -m benchmarks.gpu_parcel wheels | inputs DIR")


if __name__ == "__main__":
    main()
