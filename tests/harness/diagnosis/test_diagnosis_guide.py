"""The guide has every sentence that a diagnosis can say, with what it means, its picture and what to do."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from harness.diagnosis.model import Alternative, Diagnosis, Named
from harness.diagnosis.names import CLASSES, REMEDIES
from tests.harness.diagnosis.sentences import general, offered

DOCS = Path(__file__).parents[3] / "docs"
GUIDE = (DOCS / "diagnosis.md").read_text(encoding="utf-8")
FLAT = re.sub(r"\s+", " ", GUIDE)


@pytest.fixture(scope="module")
def words() -> dict[str, set[str]]:
    """Class -> the words that generators give its edits on the scenes of sentences.py."""
    found: dict[str, set[str]] = defaultdict(set)
    for edit in offered():
        found[edit.name].add(general(edit.words))
    return found


def section(name: str) -> str:
    """The guide's section of a class, on one line."""
    return re.sub(r"\s+", " ", GUIDE.partition(f"\n### {name}\n")[2].partition("\n### ")[0].partition("\n## ")[0])


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_its_meaning_its_remedy_and_its_picture(name: str) -> None:
    told = section(name).lower()
    assert CLASSES[name].lower() in told
    assert f"on the car: {REMEDIES[name].lower()}" in told
    (picture,) = re.findall(r"!\[\w+\]\(([^)]+)\)", section(name))
    assert (DOCS / picture).is_file()


def test_every_word_of_an_edit_stands_in_the_section_of_its_class(words: dict[str, set[str]]) -> None:
    assert set(words) == set(CLASSES)
    for name, said in words.items():
        listed = set(re.findall(r"`([^`]+)`", section(name).partition("In words:")[2].partition("```")[0]))
        assert said <= listed, name


def test_every_status_stands_in_the_table() -> None:
    edit = Named("shift", "A", (Alternative("crop", "B"),), {}, "")
    for status in ("same", "noise", "named", "unexplained", "foreign"):
        edits = (edit, edit) if status == "named" else ()
        for explained in (0.59, 1.0):
            found = Diagnosis("image", "a", "...", status, edits, explained=explained, before=1.2, after=0.3, noise=0.1)
            told = general(found.sentence.replace("A (or B)", "A").replace("then A", "then B"))
            tail = re.sub(
                r"\d[\d.]*", "N", told.removeprefix(f"{found.subject} ").removeprefix("= ").removeprefix("and ")
            )
            for part in tail.replace(": not", "; not").split("; "):
                assert part in re.sub(r"\d[\d.]*", "N", general(FLAT)), found.sentence


def test_what_the_recording_contradicts_stands_in_the_table() -> None:
    for by in ("the stream declares bt709", "step nv12 encodes bt709"):
        assert f"{by}, the deploy pipeline uses bt601" in FLAT
