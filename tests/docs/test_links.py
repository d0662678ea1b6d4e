"""Every link and every file that the guides name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, pages

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(
    r"(?<![\w./-])((?:harness|engines|cases|techniques|trueline|tests|benchmarks|examples|docs)/[\w./-]*\w/?)"
)
MADE = {"cases/bend_01", "cases/tunnel_03"}  # of a reader's own project


def _prose(page: str) -> str:
    """The page without its code blocks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", h) for h in headings]
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in plain}


@pytest.mark.parametrize("page", pages())
def test_every_link_leads_somewhere(page: str) -> None:
    for match in LINK.finditer(_prose(page)):
        link = match[1] or match[2]
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in _anchors(target), f"{page}: {link}; it has {sorted(_anchors(target))}"


@pytest.mark.parametrize("page", pages())
def test_every_file_that_is_named_exists(page: str) -> None:
    text = re.sub(LINK, "", _prose(page))
    missing = [name for name in NAMED.findall(text) if not _exists(name)]
    assert not missing, f"{page}: {missing}"


def _exists(name: str) -> bool:
    return name in MADE or (ROOT / name).exists() or any(ROOT.glob(name + "*"))


def test_the_ten_questions_are_ten_and_lead_to_files() -> None:
    text = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8").partition("## Ten questions")[2]
    rows = re.findall(r"^\| (.*\?) \| (.*) \|$", text, re.MULTILINE)
    assert len(rows) == 10
    assert all(LINK.search(answer) for _, answer in rows)


def test_every_room_is_on_the_map() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {p.name for p in (ROOT / "harness").iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert all(f"harness/{room}" in text for room in rooms)
    loose = {p.name for p in (ROOT / "harness").glob("*.py")} - {"__init__.py"}
    assert all(name in text for name in loose)


def test_the_rules_can_fail() -> None:
    assert "ten-questions-of-a-newcomer" in _anchors(ROOT / "docs" / "contributing.md")
    assert not _exists("harness/no_such_room")
