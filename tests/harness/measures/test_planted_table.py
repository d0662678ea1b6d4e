"""The table of planted examples names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

TABLE = Path(__file__).with_name("README.md")


def test_every_planted_example_has_its_test() -> None:
    text = TABLE.read_text(encoding="utf-8")
    files = {
        link: (TABLE.parent / link).read_text(encoding="utf-8") for link in set(re.findall(r"\]\(([^)]+)\)", text))
    }
    names = re.findall(r"`(test_\w+?)(?:_\.\.\.)?`", text)
    assert len(names) > 25
    assert not [name for name in names if not any(f"def {name}" in content for content in files.values())]
