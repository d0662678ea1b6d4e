"""Colours that everyone can tell apart, on paper and on a dark screen."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from harness.report.palette import HUES, REFERENCE_COLOUR, rung_styles

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB
DEFICIENCIES = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    x = TO_XYZ @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(a: str, b: str) -> float:
    low, high = sorted(TO_XYZ[1] @ linear(c) + 0.05 for c in (a, b))
    return float(high / low)


@pytest.mark.parametrize("paper", ["#ffffff", "#14171c"])
@pytest.mark.parametrize("hue", HUES)
def test_every_hue_stands_out_from_either_paper(hue, paper):
    assert contrast(hue, paper) >= 3.0


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_hues_stay_apart_for_every_eye(deficiency):
    seen = {h: lab(np.asarray(DEFICIENCIES[deficiency]) @ linear(h)) for h in HUES}
    closest = min(np.linalg.norm(seen[a] - seen[b]) for a, b in combinations(HUES, 2))
    assert closest > 16.0  # CIE76; the six of Okabe and Ito without black and yellow come to 16.05


def test_no_two_of_twenty_rungs_look_alike():
    names = [f"deploy/engine-{i}" for i in range(20)]
    styles = rung_styles(["train/torch-fp32", *names], "train/torch-fp32")
    assert len({(s.colour, s.stroke) for s in styles.values()}) == 21
    assert styles["train/torch-fp32"].colour == REFERENCE_COLOUR
