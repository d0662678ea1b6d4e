"""A sweep of models whose answer is known: what the picture truly does is no error, and a blind model is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.model.card import load_card
from harness.sweep import Sweep, sweep
from tests.harness.sweep.readers import write_reader, write_stripes

ENGINE = "torch-fp32"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stripes")
    write_stripes(root)
    return root


def _swept(cases: Path, folder: Path, perturbations: str, severities: tuple[int, ...] = (5,), **card: object) -> Sweep:
    model = load_card(write_reader(folder / "model", **card))  # type: ignore[arg-type]  # keywords of the test
    return sweep(
        model, [cases], out=folder / "out", engine=ENGINE, perturbations=perturbations.split(","),
        severities=severities, cache=folder / "cache",
    )  # fmt: skip


def _cells(found: Sweep) -> dict[str, dict[str, object]]:
    assert {c["status"] for c in found.cells} == {"ok"}, found.cells
    return {c["perturbation"]: c for c in found.cells}


def test_a_model_that_reads_a_shift_of_the_picture_has_no_error(cases: Path, tmp_path: Path) -> None:
    found = _swept(cases, tmp_path, "shift-right,shift-down,scale")
    for cell in _cells(found).values():
        assert cell["deviation"] < 0.05, cell  # px, where the picture moved by 2 px: 8-bit rounding is left
        assert cell["follow"] == pytest.approx(1, abs=0.03), cell
        assert cell["missing"] == 0
        assert cell["extra"] == 0
    assert not found.constant


def test_a_model_in_metres_that_believes_its_calibration_has_no_error(cases: Path, tmp_path: Path) -> None:
    found = _swept(cases, tmp_path, "shift-right,yaw,pitch,height", ground=True)
    for cell in _cells(found).values():
        assert cell["deviation"] < 0.02, cell  # m; undisturbed lines are up to 0.7 m away
        assert cell["follow"] == pytest.approx(1, abs=0.05), cell
        assert not cell["unmoved"]


def test_what_a_model_sees_wrongly_is_left(cases: Path, tmp_path: Path) -> None:
    """Brightness makes no line move: the model's threshold is fooled by nothing, noise moves it a little."""
    cell = _cells(_swept(cases, tmp_path, "noise"))["noise"]
    assert 0.05 < cell["deviation"] < 2
    assert cell["follow"] is None
    assert cell["input_rms"] == pytest.approx(16, rel=0.02)


def test_a_blind_model_is_flat_and_said_to_be_constant(cases: Path, tmp_path: Path) -> None:
    found = _swept(cases, tmp_path, "shift-right,noise,darker", sight=0.0)
    for cell in _cells(found).values():
        assert cell["deviation"] == 0
        assert cell["unmoved"]
        assert cell["input_rms"] > 1
    assert found.constant


def test_a_blind_model_is_found_out_without_any_move(cases: Path, tmp_path: Path) -> None:
    assert _swept(cases, tmp_path / "blind", "darker", sight=0.0).constant
    assert not _swept(cases, tmp_path / "seeing", "noise", sight=1.0).constant


def test_a_model_that_follows_half_of_it_is_told_so(cases: Path, tmp_path: Path) -> None:
    cell = _cells(_swept(cases, tmp_path, "shift-right", sight=0.5))["shift-right"]
    assert cell["follow"] == pytest.approx(0.5, abs=0.03)


def test_where_the_true_movement_is_not_known_nothing_is_counted(tmp_path: Path) -> None:
    write_stripes(tmp_path / "cases", calibrated=False)
    found = _swept(tmp_path / "cases", tmp_path, "yaw,darker", ground=True)
    yaw, darker = (next(c for c in found.cells if c["perturbation"] == name) for name in ("yaw", "darker"))
    assert yaw["status"] == "cannot tell"
    assert "intrinsics" in yaw["reason"]
    assert "deviation" not in yaw
    assert darker["status"] == "ok"
    assert [c["why"] for c in found.meta["curves"] if c["perturbation"] == "yaw"] == [yaw["reason"]]


def test_without_motion_inputs_their_time_means_nothing(cases: Path, tmp_path: Path) -> None:
    (cell,) = _swept(cases, tmp_path, "time-jitter").cells
    assert (cell["status"], "motion" in cell["reason"]) == ("cannot tell", True)


def test_a_repeated_or_dropped_picture_costs_what_the_line_moved_meanwhile(cases: Path, tmp_path: Path) -> None:
    cells = _cells(_swept(cases, tmp_path, "dropped,repeated"))
    for cell in cells.values():
        assert 0.1 < cell["deviation"] < 1.5  # the stripes move by up to 1 px a frame
        assert cell["missing"] == 0
        assert cell["frames"] == 12


def test_an_offset_is_in_8_bit_steps_whatever_the_tensor_is(cases: Path, tmp_path: Path) -> None:
    cell = _cells(_swept(cases, tmp_path, "brighter", (2,)))["brighter"]
    assert cell["input_rms"] == pytest.approx(8, rel=0.02)  # a few pixels are cut off at white
