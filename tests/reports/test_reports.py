"""The public reports of deployment mismatches, made small: the right step is blamed, in words, with the right size.

Every maker builds its situation from a variant (seed, names, sizes, number of lines); the right values come from the
arithmetic of the little networks, never from Trueline. docs/reports.md is the guide to them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reports.makers import MAKERS
from tests.reports.trial import Answer
from tests.reports.variant import drawn

SEEDS = (0, 1)
FURTHER = (2, 3)  # `make reports` has them; CI has 20 minutes
QUICK = (  # one of each kind, of the canonical variant, in every run of the suite
    "01-grid-sample-20",
    "02-resize-to-one-pixel",
    "04-batchnorm-in-training-mode",
    "07-l2-norm-spelled-out",
    "17-mean-and-std-missing",
    "19-two-runners",
    "35-late-by-some-milliseconds",
)
PLACE = ("case", "track", "band", "first", "stage", "factor", "cause")  # measures of a family may stand for each other


def _marks(name: str, seed: int) -> list[pytest.MarkDecorator]:
    if seed in FURTHER:
        return [pytest.mark.reports, pytest.mark.variants]
    return [] if seed == 0 and name in QUICK else [pytest.mark.reports]


TRIALS = [
    pytest.param(name, seed, marks=_marks(name, seed), id=f"{name}-{seed}")
    for name in MAKERS
    for seed in SEEDS + FURTHER
]


@pytest.mark.parametrize(("name", "seed"), TRIALS)
def test_a_report_comes_out_right(name: str, seed: int, tmp_path: Path) -> None:
    trial = MAKERS[name](tmp_path, drawn(seed))
    answer = Answer(trial)
    for right in trial.rights:
        right.hold(answer)


def test_every_report_has_a_maker() -> None:
    reports = {int(name.partition("-")[0]) for name in MAKERS}
    assert reports == {1, 2, 4, 5, 7, 8, 9, 10, *range(15, 21), 22, 23, 25, 26, 28, 31, 33, 34, 35, 39}


@pytest.mark.reports
@pytest.mark.parametrize("name", ["02-resize-to-one-pixel", "17-mean-and-std-missing", "08-attention-mask"])
def test_one_command_says_what_the_single_commands_say(name: str, tmp_path: Path) -> None:
    answer = Answer(MAKERS[name](tmp_path, drawn(1)))
    whole = answer.whole["explanation"]["findings"]
    alone, together = ({tuple(f[key] for key in PLACE) for f in found} for found in (answer.findings, whole))
    assert alone == together
    assert answer.whole["verdict"]["verdict"] in ("FAIL", "NONFINITE")
