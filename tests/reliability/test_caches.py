"""Prepared artefacts are held against their seal at every use: what was damaged since is made anew, never believed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cases.synth import synth_cases
from engines.cache import publish
from engines.emulated import emulated_graph
from engines.emulated.recipe import Recipe
from engines.export import exported, inlined
from engines.protocol import ModelSource
from engines.tensorrt.build import Built
from engines.tensorrt.plancache import cached_plan
from harness.model.card import load_card
from tests.harness.tiny_model import write_tiny
from trueline._drafts import draft_in, replacing, sweep_drafts


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    root = tmp_path_factory.mktemp("model")
    return load_card(write_tiny(root)).source(root / "cache")


def _with_function(folder: Path) -> Path:
    """An ONNX file that calls a function of its own."""
    twice = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 18)]
    )
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Twice", ["x"], ["y"], domain="own")], "g", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    path = folder / "calls.onnx"
    onnx.save(helper.make_model(graph, functions=[twice], opset_imports=opsets, ir_version=9), path)
    return path


def _exported(source: ModelSource) -> Path:
    return exported(source, "ort")


def _emulated(source: ModelSource) -> Path:
    return emulated_graph(source, Recipe("fp16"))[0]


def _inlined(source: ModelSource) -> Path:
    return inlined(_with_function(source.root), source.cache)


def _plan(source: ModelSource) -> Path:
    return cached_plan(source.cache, "tiny", {"gpu": "any"}, lambda: Built(b"a plan of TensorRT", [], [])).path


def _flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x40
    file.write_bytes(content)


def _truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("spoil", [_flipped, _truncated, Path.unlink])
@pytest.mark.parametrize("make", [_exported, _emulated, _inlined, _plan])
def test_a_damaged_artefact_is_made_anew(
    source: ModelSource, make: Callable[[ModelSource], Path], spoil: Callable[[Path], None]
) -> None:
    path = make(source)
    sound = path.read_bytes()
    os.utime(path, ns=(before := path.stat().st_mtime_ns, before))
    spoil(path)
    if path.exists():
        os.utime(path, ns=(before, before))  # times are as they were: content alone tells
    again = make(source)
    assert again == path
    assert again.read_bytes() == sound
    assert not list(path.parent.parent.glob(".draft-*"))


def test_an_artefact_beside_the_model_counts_too(source: ModelSource) -> None:
    path = _emulated(source)
    told = path.with_name("facts.json")
    sound = told.read_text()
    told.write_text(sound.replace("fp16", "bf16", 1))
    _emulated(source)
    assert told.read_text() == sound


def test_a_damaged_list_of_sources_is_made_anew(source: ModelSource) -> None:
    path = _exported(source)
    (manifest,) = path.parent.parent.glob("*.sources.json")
    for content in ("", "[", '["/nowhere.py"]'):
        manifest.write_text(content)
        assert _exported(source) == path
        assert "network.py" in manifest.read_text()


def test_a_damaged_synthetic_case_is_rendered_anew(tmp_path: Path) -> None:
    (case,) = synth_cases(4, 1, 0.1, tmp_path)
    video = next(case.glob("cameras/*/video.*"))
    truth = case / "lines.parquet"
    sound = truth.read_bytes()
    _flipped(video)
    truth.unlink()
    assert synth_cases(4, 1, 0.1, tmp_path) == [case]
    assert truth.read_bytes() == sound
    assert np.any(np.frombuffer(video.read_bytes(), np.uint8))


def test_drafts_of_processes_that_are_gone_are_swept_and_others_are_left(tmp_path: Path) -> None:
    child = (
        "import sys; from pathlib import Path; from trueline._drafts import draft_in; d = draft_in(Path(sys.argv[1]))"
    )
    root = Path(__file__).parents[2]
    for make in ("d.touch()", "(d.mkdir(), (d / 'model.onnx').touch())"):
        subprocess.run([sys.executable, "-c", f"{child}; {make}", str(tmp_path)], check=True, cwd=root)
    mine = draft_in(tmp_path)
    mine.touch()
    sweep_drafts(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]
    with publish(tmp_path / "made") as draft:
        (draft / "x").touch()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([mine.name, "made"])


def test_a_file_that_cannot_be_written_whole_is_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "verdict.json"
    file.write_text("old")

    def fail(file: Path) -> None:
        with replacing(file) as draft:
            draft.write_text("half")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        fail(file)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_what_is_no_file_is_written_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with replacing(pipe) as draft:
        draft.write_text("told")
    assert os.read(reader, 10) == b"told"
    os.close(reader)
