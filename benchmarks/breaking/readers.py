"""Every reader of files that others made: where its file lies in the world, and how it is read to the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["READERS", "prepare"]

Read = Callable[[Path], object]


def _case(root: Path) -> None:
    from cases.case import open_case
    from cases.check import check_case

    problems = check_case(root)
    if any(not str(problem.error()).isprintable() for problem in problems):
        raise AssertionError("a problem that steers a terminal")
    case = open_case(root)
    case.truth()
    for _ in case.ticks():
        pass


def _dump(root: Path) -> None:
    from engines.dumps import Dump, Wanted
    from engines.protocol import DumpSpec
    from harness.lines.decode.recorded import RecordedLines, holds_lines

    dump = Dump(DumpSpec(root, 0), Wanted(("lines", "scores")), (0, 50_000_000, 100_000_000))
    for position in range(len(dump.timestamps_ns)):
        found = dump.read(position)
        if holds_lines(found):
            RecordedLines("vehicle").decode({name: values[None] for name, values in found.items()})


def _card(root: Path) -> None:
    from harness.model.card import load_card

    card = load_card(root)
    card.source(root / "cache")


def _policy(root: Path) -> None:
    from harness.gate import load_policy

    load_policy(root / "toy.trueline.toml")


def _task(root: Path) -> None:
    from harness.training import load_task_file

    load_task_file(root / "task.toml")


def _onnx(root: Path) -> None:
    from engines.inspect.graph import read_graph
    from engines.io_check import onnx_io

    onnx_io(root / "identity.onnx")
    graph = read_graph(root / "identity.onnx")
    _ = graph.constants, graph.nodes, graph.readers


def _weights(root: Path) -> None:
    from engines.torch_model import read_state

    (file,) = root.iterdir()
    read_state(file)


def _checkpoint(root: Path) -> None:
    from techniques.checkpoint import load_state

    load_state(root / "state.safetensors")


def _run(root: Path) -> None:
    from harness.gate import judge
    from harness.ladder import explain
    from harness.run.folder import Run

    run = Run.open(root)
    explain(run, judge(run))
    run.verdict()


def _message(root: Path) -> None:
    from engines.formats.packed import unpack

    try:
        unpack((root / "0.safetensors").read_bytes())
    except ValueError as error:  # what the pipe's other end turns into a crash of the program
        raise _told(error) from error


def _told(error: ValueError) -> Exception:
    from trueline import TruelineError

    return TruelineError(str(error), where="message", remedy="none")


def _import(root: Path) -> None:
    import shutil

    from cases.importing import import_case

    out = root.parent / "imported"
    shutil.rmtree(out, ignore_errors=True)
    (video,) = root.glob("video.*")
    import_case(video, id="x", out=out)


# reader -> (folder of the world that it reads, files in it that are damaged, how it is read)
READERS: dict[str, tuple[str, str, Read]] = {
    "case.toml": ("cases/synth_00001", "case.toml", _case),
    "frames.parquet": ("cases/synth_00001", "frames.parquet", _case),
    "lines.parquet": ("cases/synth_00001", "lines.parquet", _case),
    "video": ("cases/synth_00001", "cameras/*/video.*", _case),
    "tensors": ("tensors/c0", "cameras/front/tensors/all.npy", _case),
    "images": ("imagecase/x", "cameras/front/images/*", _case),
    "import video": ("cases/synth_00001/cameras/front", "video.*", _import),
    "npz": ("dumps/npz", "all.npz", _dump),
    "npz deflated": ("dumps/deflated", "all.npz", _dump),
    "safetensors": ("dumps/safetensors", "*.safetensors", _dump),
    "message": ("dumps/safetensors", "0.safetensors", _message),
    "polygraphy": ("dumps/polygraphy", "all.json", _dump),
    "timestamps": ("dumps/polygraphy", "all.timestamps", _dump),
    "trtexec": ("dumps/trtexec", "*.json", _dump),
    "raw": ("dumps/raw", "*/*.raw", _dump),
    "lines json": ("dumps/lines", "all.json", _dump),
    "lines jsonl": ("dumps/jsonl", "all.jsonl", _dump),
    "lines table": ("dumps/parquet", "all.parquet", _dump),
    "card": ("identity", "model.toml", _card),
    "onnx": ("identity", "identity.onnx", _onnx),
    "weights safetensors": ("weights/safetensors", "*", _weights),
    "weights pt": ("weights/pt", "*", _weights),
    "policy": ("policy", "toy.trueline.toml", _policy),
    "task": ("task", "task.toml", _task),
    "checkpoint": ("checkpoint", "state.safetensors", _checkpoint),
    "run.json": ("small", "run.json", _run),
    "verdict.json": ("small", "verdict.json", _run),
    "tables": ("small", "*.parquet", _run),
}


def prepare(world: Path) -> None:
    """What readers need beyond the world: a case of images, weights, a policy and a task, a checkpoint."""
    import shutil

    import torch

    from benchmarks.breaking.world import TASK
    from cases.importing import import_case
    from techniques.checkpoint import save_state

    if (world / "task").exists():
        return
    import_case(world / "pictures", id="x", out=world / "imagecase")
    for kind in ("safetensors", "pt"):
        (world / "weights" / kind).mkdir(parents=True)
    shutil.copy(world / "tiny" / "tiny.safetensors", world / "weights" / "safetensors" / "w.safetensors")
    torch.save({"a": torch.zeros(4, 4), "b": torch.ones(3)}, world / "weights" / "pt" / "w.pt")
    (world / "policy").mkdir()
    shutil.copy(world / "toy.trueline.toml", world / "policy")
    state: dict[str, Any] = {"step": 3, "nested": [{"a": torch.zeros(3)}, (1, "x", None)]}
    save_state(world / "checkpoint" / "state.safetensors", state)
    (world / "task").mkdir()
    (world / "task" / "task.toml").write_text(TASK)
