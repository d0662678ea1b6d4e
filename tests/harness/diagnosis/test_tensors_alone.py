"""What two files of tensors tell without the recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.diagnosis.alone import diagnose_alone, diagnose_files
from harness.errors import DiagnosisError
from tests.harness.diagnosis.scenes import SMALL, drive, pictures

MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]


def lab(frames: int = 24, seed: int = 0) -> NDArray[np.float32]:
    """Tensors of a clean car over 255, [frames, 3, height, width]."""
    shown = pictures(SMALL, seed)
    plain = [
        drive(shown, SMALL, {"normalisation": {"mean": np.zeros(3), "std": np.ones(3)}}, at) for at in range(frames)
    ]
    return np.stack(plain).transpose(0, 3, 1, 2)


LAB = lab()


def classes(car: NDArray[np.float32], ours: NDArray[np.float32] = LAB) -> list[frozenset[str]]:
    return [e.names for e in diagnose_alone(ours, car).diagnosis.edits]


def test_equal_tensors_are_the_same() -> None:
    found = diagnose_alone(LAB, LAB.copy()).diagnosis
    assert (found.status, found.edits) == ("same", ())


def test_red_and_blue_are_told() -> None:
    (names,) = classes(LAB[:, ::-1])
    assert names == {"channel_order"}


def test_a_lost_division_is_told() -> None:
    (names,) = classes(LAB * 255)
    assert "scale" in names


def test_a_wrong_mean_is_told_under_an_unknown_normalisation() -> None:
    ours = (LAB - MEAN) / STD
    (names,) = classes((LAB - 0.3) / STD, ours)
    assert "normalisation" in names


UNKNOWN_MEAN, UNKNOWN_STD = MEAN - 0.06, STD * 1.13
"""A normalisation that no table of common ones has."""


@pytest.mark.parametrize(
    ("name", "car"),
    [
        ("channel_order", LAB[:, ::-1]),
        ("gamma", np.rint(LAB**1.3 * 255) / 255),
        ("range", np.rint(16 + LAB * 219) / 255),
        ("scale", LAB * 255),
    ],
)
def test_an_unknown_normalisation_is_fitted_with_what_the_car_does(name: str, car: NDArray[np.float32]) -> None:
    noise = np.random.default_rng(0).normal(0, 1 / 255, car.shape)
    ours, theirs = ((t - UNKNOWN_MEAN) / UNKNOWN_STD for t in (LAB, car + noise))
    (names,) = classes(theirs.astype(np.float32), ours)
    assert name in names


def test_late_frames_are_told() -> None:
    late = LAB[np.maximum(np.arange(len(LAB)) - 3, 0)]
    found = diagnose_alone(LAB, late).diagnosis
    assert [e.name for e in found.edits] == ["lag"]
    assert "3 frames late" in found.sentence


def test_a_kernel_is_never_named() -> None:
    import cv2

    blurred = np.stack([[cv2.GaussianBlur(c, (0, 0), 0.8) for c in frame] for frame in LAB])
    found = diagnose_alone(LAB, blurred).diagnosis
    assert [e.name for e in found.edits] == ["resampling"]
    assert "resampling differs" in found.sentence


def test_whole_numbers_are_compared_with_fractions(tmp_path: Path) -> None:
    np.savez(tmp_path / "lab.npz", image=LAB)
    np.savez(tmp_path / "car.npz", image=np.rint(LAB[:, ::-1] * 255).astype(np.uint8))
    (solved,) = diagnose_files(tmp_path / "lab.npz", tmp_path / "car.npz")
    names = {name for e in solved.diagnosis.edits for name in e.names}
    assert {"channel_order", "scale"} <= names
    assert any("uint8" in note for note in solved.diagnosis.notes)


def test_another_layout_of_the_file_is_noted_and_compared() -> None:
    found = diagnose_alone(LAB, LAB.transpose(0, 2, 3, 1).copy()).diagnosis
    assert found.status == "same"
    assert "NHWC" in found.notes[0]


def test_other_sizes_are_refused_with_both() -> None:
    with pytest.raises(DiagnosisError, match="88x48 with 3 channels in the lab and 80x48"):
        diagnose_alone(LAB, LAB[..., :80])


def test_frames_without_common_times_are_paired_by_content() -> None:
    found = diagnose_alone(LAB, LAB[4:20, ::-1], np.arange(24) * 10**8, np.arange(16) * 10**8 + 10**12).diagnosis
    assert [e.name for e in found.edits] == ["channel_order"]
    assert any("by what they show" in note for note in found.notes)


def test_frames_of_another_drive_are_refused_where_times_do_not_pair_them() -> None:
    with pytest.raises(DiagnosisError, match="none of one moment"):
        diagnose_alone(LAB, lab(16, seed=5), np.arange(24) * 10**8, np.arange(16) * 10**8 + 10**12)
