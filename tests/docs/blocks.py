"""The fenced blocks of README, guides and examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LANGUAGES", "ROOT", "Block", "blocks_of", "pages"]

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {
    "bash": "commands, run",
    "console": "commands after `$ `, run, with what they print",
    "python": "code, run, or a file where its first line is `# NAME.py`",
    "toml": "a file where its first line is `# NAME.toml`, read as what it is",
    "json": "read as JSON",
    "yaml": "read as YAML",
    "groovy": "not run: a pipeline of Jenkins",
    "cpp": "not run here: test_dumping_guide.py compiles what needs no library of NVIDIA's",
    "text": "not run: a drawing, a form of words; a synopsis of `trueline` is held against the command line",
}
_FENCE = re.compile(r"^( *)```(\S*)\s*$")
_FILE = re.compile(r"^# ([\w./-]+\.(?:py|toml))\b")


@dataclass(frozen=True)
class Block:
    """One block; `line` is that of its fence."""

    page: str
    line: int
    language: str
    code: str

    @property
    def place(self) -> str:
        """Where it stands, as editors take it."""
        return f"{self.page}:{self.line}"

    @property
    def first_line(self) -> str:
        """What names the block in the tables of pages.py."""
        return self.code.partition("\n")[0]

    @property
    def file(self) -> str | None:
        """The file it is, if its first line says so."""
        named = _FILE.match(self.first_line)
        return named[1] if named else None


def pages() -> list[str]:
    """Every page with code, relative to the root."""
    found = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*/README.md")]
    return sorted(str(p.relative_to(ROOT)) for p in found)


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page, from top to bottom."""
    return list(_blocks(page, (ROOT / page).read_text(encoding="utf-8").splitlines()))


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    begun: tuple[int, str, str] | None = None
    inside: list[str] = []
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if fence and begun is None:
            begun, inside = (number, fence[2], fence[1]), []
        elif fence and begun is not None and not fence[2]:
            yield Block(page, begun[0], begun[1], "\n".join(inside) + "\n")
            begun = None
        elif begun is not None:
            inside.append(line.removeprefix(begun[2]))
    assert begun is None, f"{page}:{begun and begun[0]} is not closed"
