"""The pages of the guide that are made from code say what the code says."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest

from harness.run.catalogue import measures
from tests.docs.blocks import ROOT


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("guide_reference", ROOT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_glossary_has_the_words_of_the_design_and_every_measure(reference: ModuleType) -> None:
    words = re.findall(r"^\| ([^|]+) \| ", reference.glossary_page(), re.MULTILINE)
    assert {"rung", "ladder", "case", "probe", "policy"} <= set(words)
    assert set(measures()) <= set(words)
    assert words[2:] == sorted(words[2:], key=str.casefold)
    assert len(words) == len(set(words))


def test_every_row_of_the_glossary_says_something(reference: ModuleType) -> None:
    rows = [line for line in reference.glossary_page().splitlines() if line.startswith("| ")]
    assert all(len(row.strip("| ").split(" | ", 1)) == 2 for row in rows)
