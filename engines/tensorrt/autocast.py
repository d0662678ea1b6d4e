"""Strong typing: NVIDIA ModelOpt's AutoCast writes fp16 or bf16 into an fp32 graph.

AutoCast runs the graph on calibration data with ONNX Runtime and leaves nodes whose values or weights would not fit in
fp32; its own default data is random in [-1, 1], which says nothing of a camera's pictures, so data is demanded here. It
runs in a process of its own: it keeps every activation in memory, logs to stdout, and opens ONNX Runtime sessions whose
settings must not become those of this process. The converted graph is cached by content.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.cache import digest, folder_of, publish, whole
from engines.errors import EngineOptionError, EngineUnavailable, ModelLoadError
from engines.inspect.graph import model_sha256
from engines.protocol import ModelSource
from engines.sealed import file_sha256
from engines.tensorrt.graph import read_graph
from trueline._reading import open_file

__all__ = ["Converted", "convert", "modelopt_version", "read_calibration"]

CHILD = "engines.tensorrt.autocast_child"
MOST_FRAMES = 8  # AutoCast keeps every activation of every frame in memory


@dataclass(frozen=True)
class Converted:
    """A typed graph, and what AutoCast said of it: versions, nodes converted and kept."""

    path: Path
    facts: dict[str, Any]


def convert(
    name: str,
    source: ModelSource,
    model: Path,
    precision: str,
    calibration: Path | None,
    keep_fp32: tuple[str, ...] = (),
) -> Converted:
    """The graph in fp16 or bf16, inputs and outputs still fp32.

    Args:
        name: of the engine, for messages.
        source: the model, for its inputs and its cache.
        model: fp32 ONNX file.
        precision: `fp16` or `bf16`.
        calibration: npz of real inputs, each array of shape (frames, *shape of the input).
        keep_fp32: names of nodes and of operators that stay in fp32.

    Raises:
        EngineOptionError: nothing in the graph has a name of `keep_fp32`.
        EngineUnavailable: no calibration data is given, or ModelOpt is not installed.
        ModelLoadError: the data does not fit the inputs, or AutoCast failed.
    """
    if calibration is None:
        raise EngineUnavailable(
            f"{name} has no calibration data, by which AutoCast chooses the nodes that stay in fp32",
            where=f"{name}, option calibration",
            remedy="give calibration = FILE.npz with an array (frames, *shape) for every input, taken from the cases",
        )
    _check_kept(name, model, keep_fp32)
    frames = read_calibration(source, calibration)
    modelopt = modelopt_version()
    if modelopt is None:
        raise EngineUnavailable(
            "NVIDIA ModelOpt, whose AutoCast writes fp16 into the graph, is not installed",
            where="import modelopt.onnx.autocast",
            remedy="pip install 'nvidia-modelopt[onnx]', or give a typed ONNX file, or a card with fp16 = \"weak\"",
        )
    facts = {
        "onnx": model_sha256(model),
        "calibration": file_sha256(calibration),
        "precision": precision,
        "modelopt": modelopt,
        "frames": MOST_FRAMES,
        "keep_fp32": list(keep_fp32),
    }
    folder = folder_of(source.cache, "autocast") / f"{source.name}-{precision}-{digest(facts)}"
    if not whole(folder):
        with publish(folder) as draft:
            np.savez(draft / "calibration.npz", **frames)  # type: ignore[arg-type]  # names of arrays, not options
            _run(name, model, draft, precision, keep_fp32)
            (draft / "calibration.npz").unlink()
    about = json.loads((folder / "autocast.json").read_text(encoding="utf-8"))
    return Converted(folder / "model.onnx", {**about, "calibration_sha256": facts["calibration"]})


def read_calibration(source: ModelSource, path: Path) -> dict[str, NDArray[Any]]:
    """At most MOST_FRAMES frames, evenly spread, as AutoCast wants them: laid end to end along the first axis.

    Raises:
        ModelLoadError: the file is no npz, or its arrays are not those of the model's inputs.
    """
    try:
        with open_file(path) as file, np.load(file, allow_pickle=False) as npz:
            arrays = {key: npz[key] for key in npz.files}
    except Exception as error:
        raise _unfit(path, f"no npz of arrays: {type(error).__name__}") from error
    specs = {spec.name: spec for spec in source.inputs}
    if set(arrays) != set(specs):
        raise _unfit(path, f"it has arrays {sorted(arrays)}, and the model has inputs {sorted(specs)}")
    counts = {len(array) if array.ndim else 0 for array in arrays.values()}
    if len(counts) != 1 or not min(counts):
        raise _unfit(path, f"its arrays have {sorted(counts)} frames; each must have the same number, and one at least")
    for key, spec in specs.items():
        shape = arrays[key].shape[1:]
        fits = len(shape) == len(spec.shape) and all(
            isinstance(want, str) or want == got for want, got in zip(spec.shape, shape, strict=True)
        )
        if not fits or not shape or arrays[key].dtype != np.dtype(spec.dtype):
            raise _unfit(
                path, f"frames of {key!r} are {arrays[key].dtype} {list(shape)}, not {spec.dtype} {list(spec.shape)}"
            )
    chosen = np.unique(np.linspace(0, min(counts) - 1, MOST_FRAMES).round().astype(int))
    return {key: np.concatenate(list(array[chosen])) for key, array in arrays.items()}


def _check_kept(name: str, model: Path, keep_fp32: tuple[str, ...]) -> None:
    graph = read_graph(model)
    if unknown := sorted(set(keep_fp32) - {*graph.nodes, *graph.operators}):
        raise EngineOptionError(
            f"option 'keep_fp32': no node and no operator of the graph is called {unknown[0]!r}",
            where=f"{name}, {model}",
            remedy=f"name nodes, or operators of {sorted(set(graph.operators))}",
        )


def _run(name: str, model: Path, folder: Path, precision: str, keep_fp32: tuple[str, ...]) -> None:
    """AutoCast in a child process; it writes model.onnx and autocast.json into the folder."""
    order = {
        "onnx": str(model.resolve()),
        "folder": str(folder.resolve()),
        "precision": precision,
        "keep_fp32": keep_fp32,
    }
    command = [sys.executable, "-m", CHILD, json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
    raise ModelLoadError(
        f"AutoCast cannot convert the graph to {precision}: {said[-1]}",
        where=f"{name}, {model}",
        remedy="run python -m modelopt.onnx.autocast on the file to see every step, or give a typed ONNX file",
    )


def modelopt_version() -> str | None:
    """ModelOpt's version; None where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("nvidia-modelopt")
    except PackageNotFoundError:
        return None


def _unfit(path: Path, what: str) -> ModelLoadError:
    return ModelLoadError(
        f"calibration data does not fit: {what}",
        where=str(path),
        remedy="give for every input an array of shape (frames, *shape) and the input's type",
    )
