"""Every arm on the product's own leaderboard: networks of one start replayed on the clips that the gate judged them by.

Writes LEADERBOARD.md. A run that is there is not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.study.arms import BY_NAME, order
from benchmarks.study.cells import Cell, Places
from benchmarks.study.measure import ENGINES, clips
from harness.cli.demo import example_folder
from harness.gate import load_policy
from harness.leaderboard import leaderboard
from harness.leaderboard.view import markdown
from harness.model.card import load_card
from harness.replay.replay import replay
from harness.run.folder import Run

__all__ = ["PAGE", "write"]

START = 0
PAGE = Path(__file__).with_name("LEADERBOARD.md")
HEAD = f"""# Every arm on the leaderboard

Made by `python -m benchmarks.study --board`: the networks of start {START} after their repair, on the eight clips of
seeds 8950 to 8957, judged by `examples/roadlines/candidates.trueline.toml`. One network an arm: the drives
say nothing of another training. [REPORT.md](REPORT.md) has the spread over starts. *Clean* is here the
`lateral_cost` of all lines to their ends, lost and invented ones included, the report's is the mean within 40 m;
*robust* is the offset of the worst line. The ensemble of five networks is no candidate and has no row. Do not edit.

"""


def write(cells: Mapping[Cell, object], places: Places, tell: Callable[[str], None] = print) -> None:
    """Replay what is missing, and write the page.

    Args:
        cells: those that are finished; their candidates lie in `places`.
    """
    arms = order({c.arm for c in cells if (c.stage, c.seed) == ("screen", START)} & {"start", *BY_NAME})
    runs = []
    for arm in arms:
        cell = Cell("screen", arm, START)
        runs.append(_run(cell, places))
        tell(f"{cell.name}: replayed")
    board = leaderboard(runs, (), load_policy(example_folder() / "candidates.trueline.toml"))
    PAGE.write_text(HEAD + markdown(board), encoding="utf-8")


def _run(cell: Cell, places: Places) -> Run:
    return replay(
        load_card(places.folder(cell) / "model.toml").model_copy(update={"name": cell.arm}),
        clips(cell.stage, places.work),
        engines=[*ENGINES, "emulated-fp16"],
        out=places.work / "board" / cell.arm,
        steps=False,
        cache=places.work / "cache",
    )
