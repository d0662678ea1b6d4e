"""docs/reports.md tells the truth: every sentence that it quotes is what Trueline prints of the canonical situation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.reports.makers import MAKERS
from tests.reports.trial import Answer
from tests.reports.variant import CANONICAL

pytestmark = pytest.mark.reports

GUIDE = Path(__file__).parents[2] / "docs" / "reports.md"
HEAD = "| # | symptom | ask | Trueline says | remedy | reported as |"


def _rows() -> list[list[str]]:
    """Cells of every row of the guide's tables."""
    lines = GUIDE.read_text().splitlines()
    starts = [k for k, line in enumerate(lines) if line == HEAD]
    assert starts, f"no table with {HEAD}"
    rows = []
    for start in starts:
        for line in lines[start + 2 :]:
            if not line.startswith("|"):
                break
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


ROWS = _rows()


def _said(answer: Answer, command: str) -> str:
    """What a command of the table printed."""
    if command == "model check":
        return "\n".join(" ".join((f["what"], f["where"], f["remedy"])) for f in answer.checked)
    if command == "gate":
        return answer.judged
    return answer.words


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_guide_quotes_what_is_printed(row: list[str], tmp_path: Path) -> None:
    number, _, ask, says, *_ = row
    quotes = re.findall(r"`([^`]+)`", says)
    commands = re.findall(r"`([^`]+)`", ask)
    assert quotes, row
    assert commands, row
    makers = [maker for name, maker in MAKERS.items() if name.startswith(number)]
    assert makers, f"no situation of report {number}"
    printed = []
    for position, maker in enumerate(makers):
        folder = tmp_path / str(position)
        folder.mkdir()
        trial = maker(folder, CANONICAL)
        answer = Answer(trial)
        printed += [_said(answer, command) for command in commands if trial.engines or command == "model check"]
    for quote in quotes:
        assert any(quote.replace("\\|", "|") in text for text in printed), (quote, printed)


def test_every_report_has_a_row() -> None:
    assert sorted({row[0] for row in ROWS}) == sorted({name.partition("-")[0] for name in MAKERS})
