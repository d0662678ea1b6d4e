from __future__ import annotations

import itertools
import math
import multiprocessing
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.errors import RunError
from harness.gate import judge, load_policy
from harness.history import History, drifts
from harness.history.drift import kendall_p
from tests.harness.gate.gate_runs import RUNG, make_run, policy_file, rule_text

START = datetime(2026, 1, 1, tzinfo=UTC)


def fill(folder: Path, bends: Sequence[float], text: str | None = None, name: str = "h.sqlite") -> History:
    """A history of gates on one case, whose near bend is as given."""
    history = History(folder / name)
    policy = load_policy(policy_file(folder, text or rule_text()))
    for number, bend in enumerate(bends):
        run = make_run({"a": [bend, 0.01]})
        run.meta["digest"] = f"{number:064d}"
        history.add(judge(run, policy), START + timedelta(days=number))
    return history


def test_a_gate_comes_back_with_the_numbers_its_verdict_rests_on(tmp_path: Path) -> None:
    first, second = fill(tmp_path, [0.1, 0.2]).gates()
    assert (first.verdict, second.verdict) == ("PASS", "FAIL")
    bend = next(n for n in second.numbers if n.rule == "bend")
    assert (bend.rung, bend.case, bend.value, bend.limit, bend.unit) == (RUNG, "a", 0.2, 0.15, "m")


def test_the_same_run_judged_again_is_one_gate(tmp_path: Path) -> None:
    fill(tmp_path, [0.1])
    assert len(fill(tmp_path, [0.1]).gates()) == 1


def test_gates_are_chosen_by_model_and_policy(tmp_path: Path) -> None:
    history = fill(tmp_path, [0.1])
    assert len(history.gates("toy", "toy")) == 1
    assert history.gates("other") == []


def test_a_rule_that_creeps_toward_its_limit_is_told_before_it_breaks(tmp_path: Path) -> None:
    (drift,) = drifts(fill(tmp_path, [0.10, 0.105, 0.109, 0.116, 0.12, 0.124]).gates())
    assert (drift.rule, drift.rung) == ("bend", RUNG)
    assert drift.per_gate == pytest.approx(0.005, abs=1e-3)
    assert drift.gates_left == pytest.approx(5.4, abs=1)


@pytest.mark.parametrize(
    "bends",
    [
        [0.10, 0.105, 0.11, 0.12],  # too few
        [0.13, 0.12, 0.11, 0.10, 0.09, 0.08],  # it gets better
        [0.1] * 8,
        [0.01, 0.0101, 0.0102, 0.0103, 0.0104, 0.0105],  # its limit is 1,395 gates away
        [0.10, 0.11, 0.12, 0.13, 0.14, 0.16],  # broken already: the gate says so
    ],
)
def test_what_is_no_drift_is_not_told(tmp_path: Path, bends: list[float]) -> None:
    assert drifts(fill(tmp_path, bends).gates()) == []


def test_where_less_is_worse_a_fall_is_a_drift(tmp_path: Path) -> None:
    text = rule_text() + rule_text(id="cover", metric="coverage", statistic="min", limit=">= 80 %")
    history = History(tmp_path / "h.sqlite")
    policy = load_policy(policy_file(tmp_path, text))
    for number, share in enumerate((0.99, 0.97, 0.95, 0.93, 0.9, 0.88)):
        run = make_run({"a": [0.01]}, coverage=share)
        run.meta["digest"] = str(number)
        history.add(judge(run, policy), START + timedelta(days=number))
    assert [d.rule for d in drifts(history.gates())] == ["cover"]


def test_noise_without_drift_raises_few_alarms(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    found = []
    for number in range(40):
        noise = rng.standard_t(3, 8) * 0.02 + 0.1
        history = fill(tmp_path, np.clip(noise, 0.001, 0.149).tolist(), name=f"{number}.sqlite")
        found.append(bool(drifts(history.gates())))
    assert np.mean(found) <= 0.15


@pytest.mark.parametrize("n", [4, 5, 6])
def test_the_rank_test_is_exact(n: int) -> None:
    orders = list(itertools.permutations(range(n)))
    rises = [sum(b > a for a, b in itertools.combinations(o, 2)) for o in orders]
    for order, own in zip(orders[:: max(1, len(orders) // 20)], rises[:: max(1, len(orders) // 20)], strict=True):
        assert kendall_p(order) == pytest.approx(np.mean([r >= own for r in rises]))
        other = stats.kendalltau(range(n), order, alternative="greater", method="exact").pvalue
        assert kendall_p(order) == pytest.approx(other)


def test_a_number_that_is_missing_stays_missing(tmp_path: Path) -> None:
    run = make_run({"a": [None, None]})
    history = History(tmp_path / "h.sqlite")
    history.add(judge(run, load_policy(policy_file(tmp_path, rule_text()))))
    (gate,) = history.gates()
    assert math.isnan(next(n for n in gate.numbers if n.rule == "bend").value)


def _add_many(folder: Path, writer: int) -> None:
    history = History(folder / "shared.sqlite")
    policy = load_policy(folder / "toy.trueline.toml")
    for number in range(5):
        run = make_run({"a": [0.1]})
        run.meta["digest"] = f"{writer}-{number}"
        history.add(judge(run, policy))


def test_two_gates_at_once_are_both_kept(tmp_path: Path) -> None:
    policy_file(tmp_path, rule_text())
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add_many, args=(tmp_path, w)) for w in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(History(tmp_path / "shared.sqlite").gates()) == 10


@pytest.mark.parametrize("kind", ["absent", "text", "foreign", "newer", "folder"])
def test_what_is_no_history_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "h.sqlite"
    if kind == "text":
        path.write_text("not a database, and long enough to be looked at " * 40)
    elif kind == "folder":
        path.mkdir()
    elif kind != "absent":
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE t (a)")
            db.execute(f"PRAGMA user_version = {9 if kind == 'newer' else 1}")
        db.close()
    with pytest.raises(RunError) as caught:
        History(path).gates()
    assert "\n" not in str(caught.value)
    if kind not in ("absent", "folder"):
        before = path.read_bytes()
        with pytest.raises(RunError):
            fill(tmp_path, [0.1])
        assert path.read_bytes() == before
