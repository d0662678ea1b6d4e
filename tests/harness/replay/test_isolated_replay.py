"""A replay of engines that crash, hang and give NaN, each in a process of its own: the others finish."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cases.synth import synth_cases
from harness.cli import main
from harness.errors import UsageError
from harness.gate import judge, load_policy
from harness.model.card import load_card
from harness.replay.replay import replay
from harness.run.folder import Run
from tests.harness.tiny_model import write_tiny

HOSTILE = Path(__file__).parents[2] / "engines" / "hostile"
FRAMES = 12
GOOD, NAN = "deploy/hostile:none", "deploy/hostile:nan-2"
SEGFAULT, HANG, UNOPENED = "deploy/hostile:segfault-3", "deploy/hostile:hang-14", "deploy/hostile:open_segfault"
REFUSED, QUITS = "deploy/hostile:open_foreign", "deploy/hostile:quits-5"
RUNGS = (GOOD, SEGFAULT, HANG, NAN, UNOPENED, REFUSED, QUITS)
ROOT = "train/straight"  # the same engine with nothing amiss; its name is one that a card may give


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("hostile")
    path = write_tiny(folder / "tiny")
    path.write_text(path.read_text().replace("[torch]", f'reference = "{ROOT}"\n[torch]', 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HOSTILE)
        return replay(
            load_card(path),
            synth_cases(1, 2, 0.6, folder / "cases"),
            engines=[rung.partition("/")[2] for rung in RUNGS],
            preprocess=["deploy"],
            steps=False,
            out=folder / "run",
            isolate=True,
            timeout_s=8.0,
            cache=folder / "cache",
        )


def test_every_rung_says_how_it_ended(run: Run) -> None:
    status = {r["name"]: r["status"] for r in run.rungs}
    wanted = {GOOD: "ok", NAN: "ok", REFUSED: "not_run"}
    wanted |= dict.fromkeys((SEGFAULT, HANG, UNOPENED, QUITS), "crashed")
    assert {name: status[name] for name in RUNGS} == wanted
    assert status[ROOT] == "ok"
    reason = {r["name"]: r["reason"] for r in run.rungs}
    assert reason[SEGFAULT].startswith(
        "case synth_00001, frame 2: its process was lost while running: ended by signal 11"
    )
    assert reason[SEGFAULT].endswith("about to read address 1")
    assert reason[HANG].startswith("case synth_00002, frame 1: its process was lost while running: it did not answer")
    assert reason[UNOPENED].startswith("case synth_00001, frame 0: its process was lost while opening")
    assert "does not open: ValueError: a foreign error; of two lines" in reason[REFUSED]
    assert (
        reason[QUITS]
        == f"case synth_00001, frame 4: {QUITS.partition('/')[2]} failed: it called sys.exit('no licence')"
    )


def test_nothing_of_the_others_is_lost_and_each_case_starts_afresh(run: Run) -> None:
    frames = run.read("frame_metrics").filter(pl.col("reference") == run.reference)
    ran = {(case, rung): n for case, rung, n in frames.group_by("case", "rung").len().rows()}
    for case in ("synth_00001", "synth_00002"):
        assert ran[case, GOOD] == ran[case, NAN] == FRAMES
        assert ran[case, SEGFAULT] == 2
        assert (case, UNOPENED) not in ran
    assert ran["synth_00001", HANG] == FRAMES
    assert ran["synth_00002", HANG] == 1


def test_the_gate_says_crashed_crashed_and_nonfinite(run: Run, tmp_path: Path) -> None:
    rule = '[[rules]]\nid = "r{}"\nmetric = "extra"\nrung = "{}"\nstatistic = "share"\nlimit = "100 %"\n'
    text = f'schema = 1\nreference = "{ROOT}"\n' + "".join(rule.format(i, rung) for i, rung in enumerate(RUNGS))
    (tmp_path / "p.trueline.toml").write_text(text)
    verdict = judge(run, load_policy(tmp_path / "p.trueline.toml"))
    found = {rung: verdict.rule(f"r{i}").status.name for i, rung in enumerate(RUNGS)}  # type: ignore[union-attr]  # asked
    wanted = {GOOD: "PASS", NAN: "NONFINITE", REFUSED: "NOT_RUN"}
    assert found == wanted | dict.fromkeys((SEGFAULT, HANG, UNOPENED, QUITS), "CRASHED")
    assert verdict.status.name == "CRASHED"
    assert verdict.exit_code == 1


def test_provenance_tells_that_it_was_isolated(run: Run) -> None:
    for rung in run.rungs:
        if rung["status"] == "not_run":
            continue
        assert rung["provenance"]["isolated"] is True
        assert rung["provenance"]["timeout_s"] == 8.0


@pytest.mark.parametrize(
    ("options", "wanted"),
    [(["--isolate", "--timeout", "3"], (True, 3.0)), ([], (False, 60.0))],
    ids=["isolated", "not"],
)
def test_the_command_passes_both_options_on(
    options: list[str], wanted: tuple[bool, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def stand_in(*_: object, isolate: bool, timeout_s: float, **__: object) -> Run:
        seen.append((isolate, timeout_s))
        raise UsageError("enough", where="here", remedy="none")

    monkeypatch.setattr("harness.replay.replay.replay", stand_in)
    card = str(write_tiny(tmp_path / "tiny"))
    with pytest.raises(SystemExit):
        main(["replay", card, "--cases", str(tmp_path), "--out", str(tmp_path / "run"), *options])
    assert seen == [wanted]
