"""The folder of a sweep: stopped and gone on, refused where it is another; the ratio to a baseline; the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import RunError, UsageError
from harness.model.card import load_card
from harness.sweep import Sweep, sweep
from harness.sweep.summary import constant, curves, gain, ratio
from tests.harness.sweep.readers import write_reader, write_stripes


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("folder")
    write_stripes(root / "cases", frames=6)
    return write_reader(root / "model"), root / "cases"


class Stopped(Exception):
    """In place of Ctrl-C."""


def _sweep(files: tuple[Path, Path], out: Path, stop_at: int | None = None, **options: object) -> Sweep:
    def progress(what: str, done: int, total: int) -> None:
        assert 0 < done <= total
        if done == stop_at:
            raise Stopped

    return sweep(
        load_card(files[0]), [files[1]], out=out, engine="torch-fp32", perturbations=("noise", "darker"),
        severities=(1, 3), search=4, cache=out.parent / "cache", progress=progress, **options,  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_stopped_sweep_goes_on_cell_by_cell_and_ends_the_same(files: tuple[Path, Path], tmp_path: Path) -> None:
    whole = _sweep(files, tmp_path / "whole")
    with pytest.raises(Stopped):
        _sweep(files, tmp_path / "out", stop_at=6 + 2 * 6 + 3)
    done = sorted((tmp_path / "out" / "cells").rglob("*.json"))
    assert len(done) == 2
    before = [file.stat().st_mtime_ns for file in done]
    with pytest.raises(RunError, match="not finished"):
        Sweep.open(tmp_path / "out")
    with pytest.raises(RunError, match="--resume"):
        _sweep(files, tmp_path / "out")
    again = _sweep(files, tmp_path / "out", resume=True)
    assert [file.stat().st_mtime_ns for file in done] == before
    assert again.cells == whole.cells
    assert again.meta["worst"] == whole.meta["worst"]
    assert again.meta["curves"] == whole.meta["curves"]


def test_another_sweep_in_the_folder_is_refused_by_what_differs(files: tuple[Path, Path], tmp_path: Path) -> None:
    _sweep(files, tmp_path / "out")
    with pytest.raises(RunError, match="seed"):
        _sweep(files, tmp_path / "out", seed=1, resume=True)


def test_only_some_frames_are_swept_where_one_asks(files: tuple[Path, Path], tmp_path: Path) -> None:
    found = _sweep(files, tmp_path / "out", only=("stripes:1-3",))
    assert {cell["frames"] for cell in found.cells} == {3}


def test_unknown_names_and_recordings_are_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    card = load_card(files[0])
    with pytest.raises(UsageError, match="no perturbation 'nosie'"):
        sweep(card, [files[1]], out=tmp_path / "a", perturbations=("nosie",))
    with pytest.raises(UsageError, match="recording"):
        sweep(card, [files[1]], out=tmp_path / "b", engine="recorded")
    with pytest.raises(UsageError, match="severities"):
        sweep(card, [files[1]], out=tmp_path / "c", severities=(6,))
    assert not (tmp_path / "a").exists()


def _cell(name: str, severity: int, deviation: float, **more: object) -> dict[str, object]:
    numbers = {n: [deviation] * 3 for n in ("offset_p50", "offset_p99", "bend_p99")}
    base = {"swing_s": 0.0, "missing": 0.0, "input_rms": 2.0 * severity, "follow": None, "unmoved": deviation == 0}
    keys = {"perturbation": name, "severity": severity, "amount": 0.1 * severity, "case": "a", "status": "ok"}
    return keys | numbers | base | {"deviation": deviation, "reason": ""} | more


def test_the_corruption_ratio_is_of_sums_over_severities_and_their_mean() -> None:
    own = [_cell("blur", 1, 0.1), _cell("blur", 2, 0.5), _cell("noise", 1, 0.2), _cell("noise", 2, 0.2)]
    base = [_cell("blur", 1, 0.3), _cell("blur", 2, 0.1), _cell("noise", 1, 0.1), _cell("noise", 2, 0.1)]
    found = ratio(own, base)
    assert found.by_perturbation == pytest.approx({"blur": 1.5, "noise": 2.0})
    assert found.mean == pytest.approx(1.75)


def test_a_ratio_counts_only_what_both_have_and_a_still_baseline_gives_none() -> None:
    own = [_cell("blur", 1, 0.1), _cell("blur", 2, 9.0), _cell("noise", 1, 0.2)]
    base = [_cell("blur", 1, 0.1), _cell("blur", 2, 0, status="crashed"), _cell("noise", 1, 0.0)]
    assert ratio(own, base).by_perturbation == {"blur": 1.0, "noise": None}
    assert ratio(own, base).mean == 1.0


def test_the_gain_is_the_deviation_per_step_of_input() -> None:
    (curve,) = curves([_cell("blur", 1, 0.1), _cell("blur", 2, 0.5)])
    assert gain(curve) == pytest.approx(0.6 / 6)


def test_only_a_model_that_follows_no_move_is_constant() -> None:
    assert constant([_cell("yaw", 1, 0.0, follow=0.01), _cell("noise", 1, 0.0)])
    assert not constant([_cell("yaw", 1, 0.0, follow=0.01), _cell("shift-right", 1, 0.0, follow=0.9)])
    assert not constant([_cell("noise", 1, 0.1)])
    assert not constant([_cell("noise", 1, 0.0, status="crashed")])


def _command(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 0


def test_the_command_sweeps_a_baseline_card_first_and_tells_the_ratio(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blind = write_reader(files[0].parent, sight=0.0, name="blind")
    common = ["--cases", str(files[1]), "--engine", "torch-fp32", "--perturbations", "noise", "--severities", "2"]
    common += ["--cache", str(tmp_path / "cache"), "--search", "5"]
    _command("sweep", str(blind), *common, "--baseline", str(files[0]), "--out", str(tmp_path / "out"))
    told = capsys.readouterr().out
    assert "CONSTANT: the lines of blind do not follow the picture" in told
    assert "corruption ratio to reader" in told
    assert "worst bend" not in told  # a blind model has none
    assert Sweep.open(tmp_path / "out" / "baseline").meta["card"]["name"] == "reader"
    again = ["--baseline", str(tmp_path / "out" / "baseline"), "--out", str(tmp_path / "two"), "--json"]
    _command("sweep", str(files[0]), *common, *again)
    assert json.loads(capsys.readouterr().out)["baseline"]["mean"] == pytest.approx(1.0)
