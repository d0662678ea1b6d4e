"""Group by group in fp16: what the numbers mean, checked by hand and on a small network; and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cases.synth import synth_cases
from harness.checks.sensitivity import Sensitivity, sensitivity
from harness.cli import main
from harness.errors import UsageError
from harness.lines.decode import build_decoder
from harness.measures.movement import movement
from harness.model.card import Card, load_card
from tests.harness.tiny_model import write_tiny


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("sensitivity")
    synth_cases(1, 1, 0.5, root / "cases")
    return write_tiny(root / "model"), root / "cases"


@pytest.fixture(scope="module")
def found(files: tuple[Path, Path]) -> Sensitivity:
    card, cases = files
    told: list[tuple[str, int, int]] = []
    cache = card.parent / "cache"
    result = sensitivity(
        load_card(card),
        [cases],
        frames=3,
        cache=cache,
        progress=lambda what, done, total: told.append((what, done, total)),
    )
    assert told == [("graphs", k + 1, len(told)) for k in range(1 + 2 * len(result.groups))]
    assert not (cache / "emulated").exists(), "rewritten graphs are not kept"
    return result


def _lines(shift_m: float = 0.0) -> dict[str, np.ndarray]:
    """Two frames of four straight lines, one of them moved in the second frame."""
    x = np.linspace(0, 80, 33)
    y = np.tile(np.array([5.4, 1.8, -1.8, -5.4])[None, :, None], (2, 1, 33))
    y[1, 2] += shift_m
    lines = np.stack([np.broadcast_to(x, y.shape), y], -1).astype(np.float32)
    return {"lines": lines[:, None], "scores": np.full((2, 1, 4), 0.9, np.float32)}


def _card(files: tuple[Path, Path]) -> Card:
    return load_card(files[0])


def test_a_moved_line_is_measured_in_metres_at_every_station(files: tuple[Path, Path]) -> None:
    card = _card(files)
    before, after = _lines(), _lines(0.25)
    moved = movement(card.grid, build_decoder(card), before, after)
    assert moved.line_max == pytest.approx(0.25)
    assert moved.line_rms == pytest.approx(0.25 / np.sqrt(8))
    assert moved.lines_changed == 0
    size = np.sqrt((before["lines"].astype(np.float64) ** 2).sum())
    assert moved.outputs["lines"] == pytest.approx(0.25 * np.sqrt(33) / size)
    assert moved.outputs["scores"] == 0


def test_nothing_moved_is_zero(files: tuple[Path, Path]) -> None:
    card = _card(files)
    moved = movement(card.grid, build_decoder(card), _lines(), _lines())
    assert (moved.line_rms, moved.line_max, moved.lines_changed) == (0, 0, 0)
    assert set(moved.outputs.values()) == {0.0}


def test_an_overflow_is_infinite_and_a_lost_line_is_counted(files: tuple[Path, Path]) -> None:
    card, after = _card(files), _lines()
    after["lines"][0, 0, 1, 5, 1] = np.inf
    after["scores"][1, 0, 3] = 0.1
    moved = movement(card.grid, build_decoder(card), _lines(), after)
    assert moved.outputs["lines"] == np.inf
    assert moved.lines_changed == 2
    assert np.isfinite(moved.line_max)


def test_the_blocks_are_the_networks_modules(found: Sensitivity) -> None:
    """`norm` holds the convolution that it was folded into."""
    assert {g.group for g in found.groups} == {"(inputs)", "norm", "pool", "head", "(root)"}
    members = [m for g in found.groups for m in g.members]
    assert len(members) == len(set(members))
    assert (found.unit, found.frames) == ("m", 3)


def test_every_part_that_feeds_the_lines_moves_them_and_none_as_far_as_all_summed(found: Sensitivity) -> None:
    """Roundings are small and nearly independent, so the whole is no more than the sum of its parts."""
    alone = {g.group: g.alone.line_rms for g in found.groups}
    assert all(alone[name] > 0 for name in ("(inputs)", "norm", "head", "(root)"))
    assert max(alone.values()) / 10 < found.whole.line_rms <= sum(alone.values()) * 1.01


def test_leaving_the_worst_part_in_fp32_helps(found: Sensitivity) -> None:
    worst = max(found.groups, key=lambda g: g.alone.line_rms)
    assert worst.without is not None
    assert worst.without.line_rms < found.whole.line_rms


def test_leaving_the_least_part_in_fp32_changes_little(found: Sensitivity) -> None:
    least = min(found.groups, key=lambda g: g.alone.line_rms)
    assert least.without is not None
    assert least.alone.line_rms < 0.2 * found.whole.line_rms
    assert least.without.line_rms == pytest.approx(found.whole.line_rms, rel=0.2)


def test_the_whole_is_the_engine_emulated_fp16(found: Sensitivity, files: tuple[Path, Path]) -> None:
    """Everything chosen by name gives what nothing left out gives: bits, so equal measures."""
    import engines
    from engines.emulated import groups

    source = _card(files).source(files[0].parent / "cache")
    every = [member for members in groups(source).values() for member in members]
    feeds = {"image": np.random.default_rng(0).random((1, 3, 36, 64)).astype(np.float32)}
    chosen = engines.open("emulated-fp16", source, only=every).infer(feeds)
    for name, values in engines.open("emulated-fp16", source).infer(feeds).items():
        np.testing.assert_array_equal(chosen[name], values)


def test_an_unknown_method_is_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="no method 'int8'"):
        sensitivity(_card(files), [files[1]], method="int8")


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    return int(caught.value.code or 0)


def test_the_command(files: tuple[Path, Path], found: Sensitivity, capsys: pytest.CaptureFixture[str],
                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(files[0].parent)
    command = ("model", "sensitivity", files[0], "--cases", files[1], "--frames", 3)
    assert _run(*command, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [g["group"] for g in told["groups"]] == [g.group for g in found.groups]
    assert told["whole"]["line_max"] == pytest.approx(found.whole.line_max)
    assert _run(*command) == 0
    assert "everything" in capsys.readouterr().out


def test_cases_that_are_not_there_are_one_line(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("model", "sensitivity", files[0], "--cases", files[1] / "none") == 2
    assert "error: CaseError: no such folder | where: " in capsys.readouterr().err
