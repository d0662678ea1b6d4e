"""The study of PLAN.md: which training makes line models robust to deployment.

    nice -n 5 python -m benchmarks.study                    # screening, then confirmation by the plan's rule; resumable
    python -m benchmarks.study --cells screen-plain-0,...   # only those
    python -m benchmarks.study --also emulated-fp16:plan    # hold confirmed networks against that engine too
    python -m benchmarks.study --list                       # what is finished, what is next
    python -m benchmarks.study --board                      # every arm on the product's leaderboard
    python -m benchmarks.study --report                     # tables and figures of what is there

One thread. Each finished cell is a small JSON file in benchmarks/study/results; weights and rendered pictures stay in
build/. Several of these commands may run side by side, each takes what no other is at.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.study import board, opening, picture, report
from benchmarks.study.cells import Cell, Places, compute, confirmation, one_thread, read, screening
from benchmarks.study.statistics import chosen

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Compute, list or report."""
    options = _options()
    places = Places(options.results, options.work, options.pictures, tuple(options.also))
    if options.report:
        _report(places)
        return
    if options.board:
        one_thread()
        board.write(read(places.results)[0], places)
        return
    if options.list:
        _list(places)
        return
    one_thread()
    if options.cells:
        names = options.cells.split(",")
        _run([c for c in _known(places) if c.name in names], places)
        return
    _run(screening(), places)
    arms = chosen(*read(places.results))
    if arms is None:
        print("screening is not complete: another process is at some cells; nothing is chosen yet", flush=True)
        return
    print(f"chosen for confirmation: {', '.join(arms)}", flush=True)
    _run(confirmation(arms), places)


def _report(places: Places) -> None:
    cells, failed = read(places.results)
    (HERE / "REPORT.md").write_text(report.text(cells, failed), encoding="utf-8")
    picture.draw(cells, picture.PATH)
    opening.write(cells, failed)
    print(f"{HERE / 'REPORT.md'}, {picture.PATH}, {opening.PAGE}: {len(cells)} cells")


def _run(cells: list[Cell], places: Places) -> None:
    """Each cell in turn; one that fails is told, and the next one begins."""
    for cell in cells:
        try:
            compute(cell, places, lambda text: print(text, flush=True))
        except Exception as error:  # a night's work does not end with one cell
            print(f"{cell.name}: FAILED, {type(error).__name__}: {error}", flush=True)


def _known(places: Places) -> list[Cell]:
    return [*screening(), *confirmation(chosen(*read(places.results)) or ())]


def _list(places: Places) -> None:
    finished, failed = read(places.results)
    for cell in _known(places):
        kept = finished.get(cell)
        print(f"{cell.name:40s} " + (f"{sum(kept['wall_s'].values()):.0f} s" if kept else failed.get(cell, "-")))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", help="names, separated by commas")
    parser.add_argument("--also", metavar="ENGINE", action="append", default=[], help="may be repeated")
    parser.add_argument("--list", action="store_true", help="cells and how long they took")
    parser.add_argument("--board", action="store_true", help="write LEADERBOARD.md")
    parser.add_argument("--report", action="store_true", help="write REPORT.md and its figures")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--work", type=Path, default=Path("build/study"))
    parser.add_argument("--pictures", type=Path, default=Path("build/roadlines"), help="rendered training pictures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
