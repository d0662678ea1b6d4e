"""A path is a path: `[1]`, `*` and `?` in a folder's name stand for themselves and never read another folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from cases.case import open_case
from cases.check import check_case
from harness.gate import judge
from harness.model.card import load_card
from harness.replay.replay import replay
from harness.run.folder import Run
from tests.reliability.identity_model import write_card, write_case

ROOT = Path(__file__).parents[2]
PACKAGES = ("cases", "engines", "harness", "techniques", "trueline")
READERS = {"read_parquet", "scan_parquet", "read_csv", "scan_csv", "read_ipc", "scan_ipc"}


@pytest.mark.parametrize("odd", ["d[1]", "d*", "d?"])
def test_cases_and_runs_in_a_folder_whose_name_is_a_pattern_are_its_own(odd: str, tmp_path: Path) -> None:
    card = load_card(write_card(tmp_path / "card"))
    runs = {}
    for folder, frames in (("d1", 5), (odd, 9)):
        case = write_case(tmp_path / folder, frames=frames)
        assert (open_case(case).length, check_case(case)) == (frames, [])
        out, cache = tmp_path / folder / "run", tmp_path / "cache"
        runs[folder] = replay(card, [case], engines=["ort-fp32"], preprocess=["deploy"], out=out, cache=cache)
    assert Run.open(runs[odd].path).read("frame_metrics")["frame"].n_unique() == 9
    assert judge(runs[odd]).run["path"].endswith(f"{odd}/run")


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READERS:
            yield node


def _may_glob(call: ast.Call) -> bool:
    """Whether the reader would take a path for a pattern: it is told nothing else, and is not given bytes."""
    told = any(word.arg == "glob" and ast.unparse(word.value) == "False" for word in call.keywords)
    return not told and ast.unparse(call.args[0]) != "content"


def test_no_reader_of_polars_takes_a_path_for_a_pattern() -> None:
    found = {
        f"{file.relative_to(ROOT)}:{call.lineno}"
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if any(reader in (text := file.read_text(encoding="utf-8")) for reader in READERS)
        for call in _calls(ast.parse(text))
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("pl", "polars") and _may_glob(call)
    }
    assert not found
