"""The self-test as a whole: resumable, with a score; a user's own faults; what harm is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from rich.console import Console

from harness.errors import FaultError, UsageError
from harness.faults import FAULTS, Fault, Outcome, Planted, all_faults, bench, selftest
from harness.faults.harm import grown_error_m, harm_of, moved
from harness.faults.score import Report
from harness.faults.selftest import Job, self_test
from harness.faults.view import render
from tests.harness.faults.seeker import write_case, write_model


@pytest.mark.slow
def test_a_self_test_goes_on_where_it_was_and_tells_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, case = write_model(tmp_path / "model"), write_case(tmp_path / "cases", 0)
    job = Job(card, (case,), tmp_path / "out", cache=tmp_path / "cache")
    first = self_test(job, faults=["other_axes", "state_lost"], controls=["as_it_is"], workers=1)
    told = first.to_json()
    assert told["score"]["harmful"] == {"planted": 1, "caught": 1, "stage_right": 1}
    assert told["confusion"] == {"decoder": {"decoder": 1}}
    assert [o.name for o in first.faults if not o.planted] == ["state_lost"]
    assert not first.flagged
    assert first.passes

    monkeypatch.setattr(selftest, "_work", lambda *_: pytest.fail("planted again"))
    assert self_test(job, faults=["other_axes", "state_lost"], controls=["as_it_is"], workers=1) == first
    with pytest.raises(UsageError, match="no fault 'nonsense'"):
        self_test(job, faults=["nonsense"], workers=1)

    # workers that begin at the same time only read the clean run: a replay would lock it
    monkeypatch.setattr(bench, "replay", lambda *_, **__: pytest.fail("replayed by a worker"))
    selftest._opened.cache_clear()
    assert selftest._opened(job)[1].verdict.status == first.clean


def fault(name: str, stage: str, harm: str, **more: object) -> Outcome:
    return Outcome(name, stage, harm=harm, unit="m of error", **more)  # type: ignore[arg-type]  # of an Outcome


CAUGHT = fault("a", "export", "harmful", caught=True, blamed="export", effect=0.2)
MISSED = fault("b", "engine", "harmful", effect=0.1, caught_from=1.5)
WRONG = fault("c", "engine", "harmful", caught=True, blamed="export", effect=0.3)
GREY = fault("d", "car", "grey", effect=0.04)
CLEAN = Outcome("k", "", harm="harmless")
FLAGGED = replace(CLEAN, name="l", caught=True, rules=("bend",))


def report(*outcomes: Outcome) -> Report:
    return Report(
        "m", "p", "PASS", (), tuple(o for o in outcomes if o.stage), tuple(o for o in outcomes if not o.stage)
    )


def test_a_gate_passes_its_self_test_only_without_a_miss_a_wrong_blame_or_a_false_alarm() -> None:
    assert report(CAUGHT, GREY, CLEAN).passes  # grey counts neither way
    assert not report(CAUGHT, MISSED, CLEAN).passes
    assert not report(CAUGHT, WRONG, CLEAN).passes
    assert not report(CAUGHT, CLEAN, FLAGGED).passes
    assert not report(GREY, CLEAN).passes  # nothing harmful: nothing is shown
    twenty = [replace(CAUGHT, name=str(k)) for k in range(19)]
    assert report(*twenty, WRONG, CLEAN).passes  # 95 % are blamed rightly


def test_a_control_that_moves_lines_is_no_clean_one(capsys: pytest.CaptureFixture[str]) -> None:
    moves = replace(FLAGGED, name="decoded", harm="grey", effect=2.2, unit="px from the clean line")
    found = report(CAUGHT, CLEAN, moves)
    assert found.passes
    assert (found.flagged, found.to_json()["unclean"]) == ([], ["decoded"])
    render(found)
    assert "they move its lines: decoded" in capsys.readouterr().out
    assert not report(CAUGHT, CLEAN, FLAGGED, moves).passes


def test_what_is_missed_and_blamed_wrongly_is_told_by_name_and_size(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(CAUGHT, MISSED, WRONG, GREY, CLEAN, FLAGGED)
    assert found.confusion == {"export": {"export": 1}, "engine": {"not caught": 1, "export": 1}}
    console = Console(width=160, record=True)
    render(found, console)
    text = console.export_text()
    for part in ("0.1 m of error", "caught from 1.5 times it", "export (wrong)", "flagged: bend", "FAIL: 1 harmful"):
        assert part in text


def entry(value: object) -> SimpleNamespace:
    return SimpleNamespace(name="own", value="own:FAULT", load=lambda: value)


def test_faults_of_other_packages_join_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Fault("own", "car", "ours alone", lambda site, severity: Planted(site.card))
    given: list[object] = [own]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry(given[0])])
    assert all_faults()["own"] is own
    given[0] = [own, replace(own, name="other")]
    assert {"own", "other"} <= all_faults().keys()
    for wrong in (replace(own, name="rb_swap"), "no fault"):
        given[0] = wrong
        with pytest.raises(FaultError, match="no fault, or its name is taken"):
            all_faults()
    assert "own" not in FAULTS


def lines(*rows: tuple[int, int, float]) -> pl.DataFrame:
    """(frame, slot, across): straight lines from 0 to 80."""
    along = [float(x) for x in range(0, 81, 10)]
    schema = {"frame": pl.Int64, "slot": pl.Int16, "line": pl.Int32, "x": pl.List(pl.Float64), "y": pl.List(pl.Float64)}
    return pl.DataFrame([(f, s, s, along, [y] * 9) for f, s, y in rows], schema, orient="row")


def test_error_grows_by_what_a_line_is_farther_off_and_by_15_m_where_it_is_lost() -> None:
    truth = lines((0, 0, 1.0), (0, 1, -1.0), (1, 0, 1.0), (1, 1, -1.0))
    clean = lines((0, 0, 1.1), (0, 1, -1.0), (1, 0, 1.1), (1, 1, -1.0))
    moved_one = lines((0, 0, 1.1), (0, 1, -1.2), (1, 0, 1.1), (1, 1, -1.2))
    lost_one = lines((0, 0, 1.1), (0, 1, -1.0), (1, 0, 1.1))
    swapped = lines((0, 1, 1.1), (0, 0, -1.0), (1, 1, 1.1), (1, 0, -1.0))
    assert grown_error_m(clean, clean, truth) == 0
    assert grown_error_m(clean, moved_one, truth) == pytest.approx(0.2)
    assert grown_error_m(clean, lost_one, truth) == pytest.approx(0.75)
    assert grown_error_m(clean, swapped, truth) == pytest.approx(1.5)
    assert grown_error_m(clean, lines((0, 0, float("nan"))), truth) == pytest.approx(1.5)


def test_rounding_at_the_end_of_a_line_shortens_it_by_nothing() -> None:
    truth = clean = lines((0, 0, 1.0))
    for by, error_m in ((1e-4, 0.0), (1.0, 2 / 9 * 1.5)):
        inside = clean.with_columns(pl.Series("x", [[by, *map(float, range(10, 80, 10)), 80.0 - by]]))
        assert grown_error_m(clean, inside, truth) == pytest.approx(error_m, abs=1e-3)


def test_lines_have_moved_by_what_2_percent_of_the_frames_exceed() -> None:
    clean = lines(*((f, 0, 100.0) for f in range(100)))
    once, twice = (
        lines(*((f, 0, 106.0 if f < n else 100.0) for f in range(100))).rename({"x": "y", "y": "x"}) for n in (1, 2)
    )
    still = clean.rename({"x": "y", "y": "x"})
    assert moved(still, once, "px") == 0
    assert moved(still, twice, "px") == pytest.approx(6)
    assert moved(still, still.head(50), "px") == 40  # half of the frames have no line any more


def test_harm_has_a_grey_zone_from_half_its_limit() -> None:
    assert [harm_of(size, 4.0) for size in (2.0, 2.1, 4.0, 4.1)] == ["harmless", "grey", "grey", "harmful"]
    assert harm_of(float("nan"), 4.0) == "harmful"
