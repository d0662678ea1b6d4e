"""The reports' own folders, where they lie beside the clone: which card, which commands, which answer.

Sizes are those that each folder's README.md gives, so they are rounded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.reports.graphs import Graph
from tests.reports.rights import (
    Blamed,
    Checked,
    Clean,
    Judged,
    Measured,
    NobodyBlamed,
    OnlyCase,
    Right,
    RowsDiffer,
    Silent,
    Status,
    Told,
)
from tests.reports.trial import Trial
from tests.reports.variant import Variant

__all__ = ["ORIGINALS", "SHARED", "Original", "prepared"]

SHARED = Path(__file__).parents[3] / "shared" / "reports"

ORT = ("torch-fp32", "ort-fp32-none", "ort-fp32")
CAR = "deploy/recorded:car"
FIRST, LAB, HALF = "deploy/ort-fp32-none", "deploy/torch-fp32", "deploy/emulated-fp16"


@dataclass(frozen=True)
class Original:
    """How one folder is asked.

    Attributes:
        folder: name of the report's folder.
        rights: what Trueline has to answer.
        engines: of the replay; empty for `model check` alone.
        card, preprocess, options, cases, unit, gated: as in `Trial`.
        prepare: what else its README.md does first, in the copied folder.
    """

    folder: str
    rights: tuple[Right, ...]
    engines: tuple[str, ...] = ()
    card: str = "card.toml"
    preprocess: str = "deploy"
    options: tuple[str, ...] = ()
    cases: str = "drives"
    unit: str = "m"
    gated: bool = False
    prepare: Callable[[Path], None] | None = None


def prepared(original: Original, out: Path) -> Trial:
    """A copy of the folder and its helpers under `out`, with its recording, as a trial."""
    shutil.copytree(SHARED / "lib", out / "lib", copy_function=shutil.copyfile)
    folder = out / original.folder
    shutil.copytree(SHARED / original.folder, folder, copy_function=shutil.copyfile)
    for path in [out, *out.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    for case in (folder / "drives").glob("*/case.toml"):
        (case.parent / "cameras" / "front" / "tensors").mkdir(parents=True, exist_ok=True)
    _python(out, "lib/drives.py", original.folder)
    if original.prepare is not None:
        original.prepare(folder)
    o = original
    return Trial(folder, o.engines, o.rights, o.preprocess, o.options, o.unit, o.card, o.cases, o.gated)


def _python(where: Path, *words: str) -> None:
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, *words], cwd=where, check=True, env=os.environ | {"PYTHONPATH": path})


def _import_bridge(folder: Path) -> None:
    """16: the real clip and the published network."""
    from cases.importing import import_case

    data = SHARED.parent / "data"
    shutil.rmtree(folder / "drives", ignore_errors=True)
    import_case(data / "clips" / "concrete_bridge.mp4", id="bridge", out=folder / "drives")
    card = folder / "card.toml"
    card.write_text(card.read_text().replace("../../data/models", str(data / "models")))


def _two_widths(folder: Path) -> None:
    """25: the small and the wide case side by side."""
    shutil.rmtree(folder / "drives", ignore_errors=True)
    _python(folder, "make.py")
    shutil.copytree(folder / "drives" / "small", folder / "both" / "small")
    shutil.copytree(folder / "drives2" / "wide", folder / "both" / "wide")


def _big_table(folder: Path) -> None:
    """26: 2.3 GB of zeros as a sparse file."""
    with (folder / "table.bin").open("wb") as file:
        file.truncate(9_000_000 * 64 * 4)


def _custom_operator(folder: Path) -> None:
    """22: the file with mmdeploy's operator, which the folder leaves out."""
    variant = Variant(height=66)
    graph = Graph(variant)
    graph.domains["mmdeploy"] = 1
    bent = graph.node("MMCVModulatedDeformConv2d", "image", name="dcn0", domain="mmdeploy", deform_groups=1)
    graph.save(folder / "model.onnx", graph.head(graph.rows(bent), 12.0))


def _moved(
    rung: str, stage: str, factor: str, size: float, *words: str, case: str = "", measure: str = "offset"
) -> tuple[Right, ...]:
    """Every rung ran, and this one moved the lines so far."""
    return (Clean(), Measured(rung, size, 0.03, case=case), Blamed(rung, stage, (factor,), measure, words=words))


_GRID = (Checked(("GridSample", "opset 20", "nearest")), Checked(("TensorRT 8.6", "opset 17")))
_CAR = (*ORT, "recorded:car")
_BOTH = "train,deploy"

ORIGINALS = (
    Original("01-gridsample-opset20-openvino", _GRID),
    Original(
        "02-interpolate-1x1",
        _moved(FIRST, "export", "export", 0.364, "export"),
        (*ORT, "openvino-fp32"),
        card="card-both.toml",
    ),
    Original(
        "04-batchnorm-train-mode",
        (
            *_moved(FIRST, "export", "export", 0.200, "export"),
            Measured(HALF, 0.0, parent="deploy/ort-fp32", atol=0.02),
            Checked(("BatchNormalization", "training")),
        ),
        (*ORT, "emulated-fp16", "emulated-fp16:unfolded"),
        card="card-trainonnx.toml",
        gated=True,
    ),
    Original("04-batchnorm-train-mode", (Checked(("training mode", "eval()")),)),
    Original(
        "05-layernorm-fp16",
        (*_moved(HALF, "numerics", "precision:fp16", 1.665, "fp16"), Checked(("Pow", "infinite in fp16"))),
        (*ORT, "emulated-fp16"),
        card="card-legacy.toml",
    ),
    Original("05-layernorm-fp16", (Checked(("LayerNormalization", "inside", "65504")),)),
    Original(
        "07-l2norm-fp16",
        _moved(HALF, "numerics", "precision:fp16", 1.665, "fp16"),
        (*ORT, "emulated-fp16"),
        card="card-decomposed.toml",
    ),
    Original("07-l2norm-fp16", (Checked(("ReduceL2", "inside", "65504")),)),
    Original(
        "08-attention-mask-1e9",
        (
            Clean(),
            Measured(HALF, np.nan),
            Blamed(
                HALF,
                "numerics",
                ("precision:fp16",),
                "nonfinite",
                words=("fp16", "finite"),
                also=("deploy/torch-fp16",),
            ),
            Checked(("add", "infinite in fp16", "clamp")),
        ),
        (*ORT, "torch-fp16", "emulated-fp16"),
    ),
    Original(
        "09-ort-basic-invalid-graph",
        (
            Status("deploy/ort-fp32", ("not_run", "crashed"), ("ort-fp32", "optimis")),
            Silent(rungs=(FIRST, LAB)),
            Judged(("NOT_RUN", "CRASHED")),
        ),
        ORT,
    ),
    Original("10-batch-rows", (Clean(), RowsDiffer(0.13, ORT, 0.05)), ORT, card="card2.toml", options=("--batch", "4")),
    Original(
        "15-pil-vs-cv2-resize",
        (
            *_moved(LAB, "preprocess", "preprocess:resize", 0.161, "resize", "antialias", measure="bend"),
            Silent(measure="lag"),
        ),
        ORT,
        preprocess=_BOTH,
    ),
    Original(
        "16-bt709-as-bt601",
        (
            Clean(),
            Told(("preprocess", "colour", "matrix", "bt601", "bt709", "declare")),
            Blamed("deploy/ort-fp32", "preprocess", ("preprocess:colour",), measure=""),
        ),
        ("ort-fp32",),
        preprocess=_BOTH,
        prepare=_import_bridge,
    ),
    Original(
        "17-mean-std-missing",
        _moved(LAB, "preprocess", "preprocess:normalise", 0.101, "normalise", "mean", "std", "0.485"),
        ORT,
        preprocess=_BOTH,
        gated=True,
    ),
    Original(
        "18-car-lanes-only",
        (Clean(), Blamed(CAR, "car", ("car:decoder",), "missing", words=("car", "decoder"))),
        _CAR,
        unit="px",
    ),
    Original(
        "19-polygraphy-two-runners",
        (Status(CAR, ("not_run", "crashed"), ("2 runners", "onnxrt-runner-N0", "trt-runner-N0")), Silent()),
        _CAR,
    ),
    Original("20-trtexec-padded-output", (Status(CAR, ("not_run", "crashed"), ("98", "66")), Silent()), _CAR),
    Original(
        "22-custom-op-mmdeploy",
        (
            Status(FIRST, ("not_run", "crashed"), ("MMCVModulatedDeformConv2d", "plugins"), others=False),
            Status(LAB, ("ok",), others=False),
            Checked(("MMCVModulatedDeformConv2d", "dcn0", "plugins")),
        ),
        ORT,
        prepare=_custom_operator,
    ),
    Original(
        "23-letterbox-vs-stretch",
        (*_moved(LAB, "preprocess", "preprocess:resize", 1.63, "resize", "letterbox"), Silent(measure="lag")),
        ORT,
        preprocess=_BOTH,
    ),
    Original(
        "25-size-frozen-by-tracing",
        (*_moved(FIRST, "export", "export", 0.49, "export", "wide", case="wide"), OnlyCase("wide")),
        ORT,
        card="card-dynamo.toml",
        cases="both",
        prepare=_two_widths,
    ),
    Original(
        "26-external-data-2gb",
        (Clean(), Silent()),
        (*ORT, "emulated-fp16", "openvino-fp32"),
        prepare=_big_table,
    ),
    Original(
        "28-qdq-int8",
        (
            Clean(),
            Measured(FIRST, 0.036, 0.03),
            Measured("deploy/openvino-fp32", 0.0156, 0.03, parent="deploy/ort-fp32"),
            Checked(("QuantizeLinear",)),
        ),
        (*ORT, "openvino-fp32", "emulated-fp16"),
    ),
    Original(
        "31-different-every-run",
        (Clean(), Judged(("INCONCLUSIVE",), ("too noisy",))),
        (*ORT, "command:car"),
        options=("--floor",),
    ),
    Original(
        "33-preprocess-leaves-no-lines",
        (
            Clean(),
            Told(("normalise", "scale", "no line")),
            Blamed(LAB, "preprocess", ("preprocess:normalise",), measure=""),
            Judged(("FAIL",)),
        ),
        ORT,
        preprocess=_BOTH,
    ),
    Original(
        "34-fp16-onnx",
        (
            Clean(),
            Blamed(HALF, "numerics", ("precision:fp16",), "nonfinite", words=("fp16", "finite")),
            Silent(rungs=("deploy/emulated-tf32", "deploy/emulated-reorder", "deploy/openvino-fp32")),
            Checked(("square", "infinite in fp16")),
        ),
        (*ORT, "emulated-fp16", "emulated-tf32", "emulated-reorder", "openvino-fp32"),
    ),
    Original("35-timestamps-milliseconds", (NobodyBlamed(CAR, ("0 of", "40 frames", "37 ms late")),), _CAR),
    Original("39-uint8-input-normalised-inside", (Clean(), Silent()), ORT, preprocess=_BOTH),
)
