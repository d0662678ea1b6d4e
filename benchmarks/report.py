"""A report of a hundred cases: every case rendered, replayed and measured by itself. How large, how soon it is seen.

python -m benchmarks.report [--cases 100] [--seconds 1.0] [--out DIR]

First view: `first-contentful-paint` of headless Chromium from the file, median of five, the page loaded anew each time;
opening a case: from a call of the player until its frame is drawn, over ten cases. Needs chromium and chromedriver.
Goes on where it stopped when --out is given again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["hundred", "seen_after_ms"]

VIEWS, OPENED = 5, 10
FIRST_SEED = 9500  # held out, as those of the demo
ENGINES = ("torch-fp32", "ort-fp32")


def hundred(folder: Path, cases: int, seconds: float) -> Path:
    """Render, replay, judge and explain; the report's path."""
    from cases.synth import synth_cases
    from harness.cli.demo import example_folder
    from harness.job import run_job
    from harness.model.card import load_card

    folders = synth_cases(FIRST_SEED, cases, seconds, folder / "cases", jobs=os.cpu_count() or 1)
    card = load_card(example_folder() / "baseline.toml")
    result = run_job(card, folders, out=folder / "run", engines=ENGINES, steps=False, cache=folder / "cache")
    assert result.report is not None, result.remarks
    return result.report


def seen_after_ms(browser: Any, file: Path) -> tuple[list[float], list[float]]:
    """Milliseconds until the first view, once a view; and until the frame of a case is drawn, once a case."""
    shown, opened = [], []
    for _ in range(VIEWS):
        browser.get("about:blank")
        browser.get(file.as_uri())
        shown.append(browser.execute_async_script(_PAINTED))
    ids = browser.execute_script("return [...document.querySelectorAll('#case-table .pick')].map(r => r.dataset.case)")
    for id in ids[1 : 1 + OPENED]:
        opened.append(browser.execute_async_script(_OPENED, id))
    return shown, opened


_PAINTED = """const done = arguments[0], look = () => {
  const found = performance.getEntriesByName("first-contentful-paint");
  if (found.length) done(found[0].startTime); else setTimeout(look, 10);
}; look();"""

_OPENED = """const [id, done] = arguments, start = performance.now();
Player.go({ id, frame: DATA.firstFrames[id] }).then(() => Player.settled())
  .then(() => done(performance.now() - start));"""


def main() -> None:
    """Make the report and print its figures."""
    from tests.harness.report.browser import chromium

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--out", type=Path)
    asked, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.out or Path(temporary)
        start = time.process_time()
        file = hundred(folder, asked.cases, asked.seconds)
        print(f"{asked.cases} cases of {asked.seconds:g} s: {file.stat().st_size / 1e6:.2f} MB")
        print(f"render, replay, judge, explain, report: {time.process_time() - start:.0f} s of CPU in this process")
        opened = chromium(Path(temporary) / "profile")
        shown, cases = seen_after_ms(next(opened), file)
        next(opened, None)
    for what, times in (("first view", shown), ("opening a case", cases)):
        spread = f"min {min(times):.0f}, max {max(times):.0f}"
        print(f"{what}: median {statistics.median(times):.0f} ms ({spread}), load {os.getloadavg()[0]:.0f}")


if __name__ == "__main__":
    main()
