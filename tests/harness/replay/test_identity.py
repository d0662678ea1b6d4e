"""A run folder is gone on with only where nothing that can change its tables has changed; what has is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from cases.case import open_case
from cases.synth import synth_cases
from harness.errors import RunError
from harness.model.card import load_card
from harness.replay.code import code_of, dotted_paths, packages_of
from harness.replay.identity import differences, make_plan
from harness.replay.replay import replay
from harness.run.rungs import Rung
from tests.harness.tiny_model import write_tiny

STEPS = """
import helpers.deep as deep
def brighten(pixels):
    return deep.more(pixels)
"""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A card whose own step leads to a module in a package beside it."""
    path = write_tiny(tmp_path / "model")
    text = path.read_text().replace('{op = "normalise"},', '{op = "steps:brighten"},\n    {op = "normalise"},')
    path.write_text(text)
    (path.parent / "steps.py").write_text(STEPS)
    (path.parent / "helpers").mkdir()
    (path.parent / "helpers" / "__init__.py").touch()
    (path.parent / "helpers" / "deep.py").write_text("from .values import GAIN\ndef more(p):\n    return p * GAIN\n")
    (path.parent / "helpers" / "values.py").write_text("GAIN = 1.0\n")
    (path.parent / "unused.py").write_text("x = 1\n")
    return path


@pytest.fixture
def case(tmp_path: Path) -> Path:
    (path,) = synth_cases(5, 1, 0.5, tmp_path / "cases")
    dump = {"lines": np.zeros((1, 4, 33, 2), np.float32)}
    (path / "outputs").mkdir(exist_ok=True)
    np.savez(path / "outputs" / "car.npz", **dump)
    text = (path / "case.toml").read_text()
    (path / "case.toml").write_text(text + '\n[outputs.car]\npath = "outputs/car.npz"\ntolerance_ms = 5.0\n')
    return path


def identity(card: Path, case: Path, engine: str = "recorded:car") -> dict[str, object]:
    rungs = (Rung("train", "torch-fp32"), Rung("deploy", engine, "train/torch-fp32", ("car",)))
    return make_plan(load_card(card), [open_case(case)], rungs, {"floor": False}).meta


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def other_dump(path: Path) -> None:
    np.savez(path, lines=np.ones((1, 4, 33, 2), np.float32))


@pytest.mark.parametrize(
    ("mutate", "named"),
    [
        (
            lambda c, k: edit(c.parent / "network.py", "AdaptiveAvgPool2d((4, 4))", "AdaptiveMaxPool2d((4, 4))"),
            "network",
        ),
        (lambda c, k: edit(c.parent / "steps.py", "deep.more(pixels)", "deep.more(pixels) + 1"), "module steps"),
        (lambda c, k: edit(c.parent / "helpers" / "deep.py", "p * GAIN", "p / GAIN"), "module helpers.deep"),
        (lambda c, k: edit(c.parent / "helpers" / "values.py", "1.0", "2.0"), "module helpers.values"),
        (lambda c, k: (c.parent / "tiny.safetensors").write_bytes(b"other"), "tiny.safetensors"),
        (lambda c, k: edit(c, 'name = "tiny"', 'name = "tiny"  # a remark'), "the card"),
        (lambda c, k: other_dump(k / "outputs" / "car.npz"), "(dumps)"),
        (lambda c, k: edit(k / "case.toml", "tolerance_ms = 5.0", "tolerance_ms = 7.0"), "(dumps)"),
        (lambda c, k: (k / "lines.parquet").write_bytes(b"other"), "(truth)"),
    ],
)
def test_each_input_alone_changes_the_identity_and_is_named(
    card: Path, case: Path, mutate: Callable[[Path, Path], object], named: str
) -> None:
    before = identity(card, case)
    assert identity(card, case)["digest"] == before["digest"]
    mutate(card, case)
    after = identity(card, case)
    assert after["digest"] != before["digest"]
    told = differences(before, after)
    assert len(told) == 1
    assert named in told[0]


def test_what_cannot_change_a_table_changes_nothing(card: Path, case: Path, tmp_path: Path) -> None:
    before = identity(card, case)
    (card.parent / "unused.py").write_text("x = 2\n")
    (tmp_path / "model").rename(tmp_path / "moved")
    after = identity(tmp_path / "moved" / card.name, case)
    assert after["digest"] == before["digest"]
    assert differences(before, after) == []
    assert identity(tmp_path / "moved" / card.name, case, "ort-fp32")["digest"] != before["digest"]


def test_a_dump_counts_only_where_a_rung_reads_it(card: Path, case: Path) -> None:
    before = identity(card, case, "ort-fp32")
    other_dump(case / "outputs" / "car.npz")
    assert identity(card, case, "ort-fp32")["digest"] == before["digest"]


def test_a_replay_into_the_same_folder_says_which_module_changed(card: Path, case: Path, tmp_path: Path) -> None:
    replay(load_card(card), [case], engines=("torch-fp32",), out=tmp_path / "run")
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    assert told["invocation"]["command"]
    assert Path(told["card"]["path"]).is_absolute()
    edit(card.parent / "helpers" / "values.py", "1.0", "1.5")
    with pytest.raises(RunError, match=r"different: module helpers\.values"):
        replay(load_card(card), [case], engines=("torch-fp32",), out=tmp_path / "run")


def test_packages_and_trueline_are_nobodys_own_code(card: Path) -> None:
    (card.parent / "steps.py").write_text(
        "import numpy, json, harness.errors, torch.nn as nn\ndef brighten(p): return p\n"
    )
    assert code_of({"op": "steps:brighten"}, card.parent).keys() == {"steps"}


def test_dotted_paths_are_found_wherever_they_stand() -> None:
    card = {"a": "mod:f", "b": [{"op": "pkg.mod:Class"}], "c": "C:\\x", "d": "recorded:car@trt", "e": "12:30"}
    assert sorted(dotted_paths(card)) == ["mod:f", "pkg.mod:Class"]


def test_a_broken_file_is_still_part_of_it(card: Path) -> None:
    (card.parent / "steps.py").write_text("def (:\n")
    assert "steps" in code_of({"op": "steps:brighten"}, card.parent)


def test_versions_of_packages_that_the_users_code_imports_count_and_no_others(
    card: Path, case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(card.parent / "helpers" / "values.py", "GAIN = 1.0", "import rich\nfrom typer.main import Typer\nGAIN = 1.0")
    before = identity(card, case)
    assert packages_of({"op": "steps:brighten"}, card.parent).keys() == {"typer", "rich"}
    asked = metadata.version
    for name, told in (("typer", ["typer"]), ("jinja2", [])):
        monkeypatch.setattr(metadata, "version", lambda n, name=name: "0.0" if n.lower() == name else asked(n))
        after = identity(card, case)
        assert (after["digest"] != before["digest"]) == bool(told)
        assert differences(before, after) == told


def test_every_library_that_computes_counts(card: Path, case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, asked = identity(card, case), metadata.version
    for name in (
        "torch",
        "onnx",
        "onnxruntime",
        "openvino",
        "numpy",
        "scipy",
        "polars",
        "av",
        "opencv-python-headless",
    ):
        monkeypatch.setattr(metadata, "version", lambda n, name=name: "0.0" if n == name else asked(n))
        assert differences(before, identity(card, case)) == [name]
