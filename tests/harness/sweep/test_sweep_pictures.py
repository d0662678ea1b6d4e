"""Changes of pictures: nothing changes nothing, severities change more and more, and each format keeps its planes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from cases.picture import Picture, Tick
from harness.errors import CannotTell
from harness.feed.preprocess.colour import encode_nv12, to_rgb
from harness.sweep import PERTURBATIONS
from harness.sweep.pictures import altered
from harness.sweep.timing import dropped, repeated

DRAWS = [p for p in PERTURBATIONS.values() if p.draw is not None]


def _rgb() -> np.ndarray:
    """A road-like picture: smooth light, a few edges, some colour."""
    v, u = np.mgrid[0:72, 0:128].astype(np.float32)
    base = np.stack([60 + u, 90 + 0.8 * v, 200 - u], axis=-1)
    base[:, 40:44] = (215, 190, 60)
    base[30:33] = (20, 30, 40)
    soft = cv2.GaussianBlur(base, (0, 0), 0.8)
    return np.clip(np.rint(soft), 0, 255).astype(np.uint8)


def _pictures() -> dict[str, Picture]:
    rgb = _rgb()
    nv12 = encode_nv12(Picture(rgb, "rgb24", 128, 72))
    planes = np.asarray(nv12.data)
    i420 = np.concatenate([planes[:72], np.moveaxis(planes[72:].reshape(36, 64, 2), -1, 0).reshape(36, 128)])
    found = {
        "rgb24": Picture(rgb, "rgb24", 128, 72),
        "bgr24": Picture(rgb[..., ::-1].copy(), "bgr24", 128, 72),
        "gray8": Picture(rgb[..., 1].copy(), "gray8", 128, 72),
        "yuv420p": Picture(i420, "yuv420p", 128, 72),
    }
    for siting in ("left", "center", "topleft"):
        for extent in ("limited", "full"):
            found[f"nv12-{siting}-{extent}"] = Picture(planes, "nv12", 128, 72, "bt709", extent, siting)
    return found


@pytest.mark.parametrize("name", _pictures())
def test_a_change_of_nothing_changes_no_bit(name: str) -> None:
    picture = _pictures()[name]
    same = altered(picture, lambda rgb: rgb)
    np.testing.assert_array_equal(same.data, picture.data)
    assert (same.pixel_format, same.width, same.height) == (picture.pixel_format, 128, 72)


@pytest.mark.parametrize("name", _pictures())
def test_brightness_arrives_in_every_format(name: str) -> None:
    picture = _pictures()[name]
    before, after = to_rgb(picture), to_rgb(altered(picture, lambda rgb: rgb + 20))
    inner = (before > 25) & (before < 225)
    assert np.abs((after - before)[inner] - 20).mean() < 1


@pytest.mark.parametrize("siting", ["left", "center", "topleft"])
def test_colour_lies_where_the_format_has_it(siting: str) -> None:
    """A ramp of colour, added to grey planes and read again, stays the ramp it was."""
    grey = np.concatenate([np.full((72, 128), 126, np.uint8), np.full((36, 128), 128, np.uint8)])
    picture = Picture(grey, "nv12", 128, 72, "bt601", "full", siting)  # type: ignore[arg-type]  # one of the three
    ramp = np.linspace(-60, 60, 128, dtype=np.float32)
    want = np.stack([ramp, -0.2 * ramp, 0 * ramp], -1)[None].repeat(72, 0)
    got = np.asarray(to_rgb(altered(picture, lambda rgb: rgb + want))) - np.asarray(to_rgb(picture))
    assert np.abs(got - want)[4:-4, 4:-4].max() < 1.5  # rounding of Y, Cb, Cr; a pixel of the ramp is 0.94


@pytest.mark.parametrize("what", DRAWS, ids=lambda p: p.name)
def test_the_neutral_amount_changes_nothing_and_severities_ever_more(what: object) -> None:
    rgb = _rgb().astype(np.float32)
    draw, severities, neutral = what.draw, what.severities, what.neutral  # type: ignore[attr-defined]

    def change(amount: float) -> float:
        drawn = draw(rgb.copy(), amount, np.random.default_rng(0))
        return float(np.sqrt(np.mean((np.clip(drawn, 0, 255) - rgb) ** 2)))

    assert change(neutral) < 0.01
    sizes = [change(amount) for amount in severities]
    assert sizes[0] > 0.05
    assert sizes[-1] > 2 * sizes[0] or what.unit == "factor"  # type: ignore[attr-defined]
    if what.unit != "factor":  # type: ignore[attr-defined]  # where a grid meets an edge jumps with the grid
        assert sizes == sorted(sizes)


def test_full_range_mistaken_for_limited_is_what_the_pipeline_makes_of_it() -> None:
    """Severity 5 of `range-harsh` is the colour step's own wrong option."""
    rgb = _rgb()
    nv12 = encode_nv12(Picture(rgb, "rgb24", 128, 72), range="full")
    right, wrong = to_rgb(nv12, range="full"), to_rgb(nv12, range="limited")
    made = PERTURBATIONS["range-harsh"].draw(right, 1.0, np.random.default_rng(0))  # type: ignore[misc]
    grey = np.ptp(right, axis=-1) < 30  # chroma is stretched as well in the step: compared where there is little
    assert np.abs(made - wrong)[grey].mean() < 3


def test_the_wrong_matrix_is_what_the_pipeline_makes_of_it() -> None:
    nv12 = encode_nv12(Picture(_rgb(), "rgb24", 128, 72), matrix="bt601", range="full")
    right, wrong = to_rgb(nv12, matrix="bt601"), to_rgb(nv12, matrix="bt709")
    made = PERTURBATIONS["matrix"].draw(right, 1.0, np.random.default_rng(0))  # type: ignore[misc]
    inside = (wrong > 1) & (wrong < 254) & (right > 1) & (right < 254)
    assert np.abs(np.clip(made, 0, 255) - wrong)[inside.all(-1)].max() < 0.01


def test_tensors_cannot_be_disturbed() -> None:
    with pytest.raises(CannotTell, match="tensors"):
        altered(Picture(np.zeros((1, 3, 4, 4), np.float32), "tensor", 0, 0), lambda rgb: rgb)


def _ticks(count: int) -> list[Tick]:
    return [
        Tick(i, i * 50_000_000, {"front": Picture(np.full((2, 2), i, np.uint8), "gray8", 2, 2)}) for i in range(count)
    ]


def test_a_repeated_picture_is_the_one_before_and_its_moment_stays(tmp_path: Path) -> None:
    ticks = _ticks(200)
    shown = list(repeated(None, ticks, 0.3, np.random.default_rng(0)))  # type: ignore[arg-type]  # the case is not asked
    assert [m.tick.frame for m in shown] == list(range(200))
    value = [int(m.tick.pictures["front"].data[0, 0]) for m in shown]
    stale = [b == a for a, b in pairwise(value)]
    assert 0.2 < np.mean(stale) < 0.4
    assert all(v == i or s for i, (v, s) in enumerate(zip(value[1:], stale, strict=True), 1))


def test_dropped_moments_are_not_fed_and_the_first_always_is() -> None:
    fed = [m.fed for m in dropped(None, _ticks(200), 0.3, np.random.default_rng(0))]  # type: ignore[arg-type]
    assert fed[0]
    assert 0.6 < np.mean(fed) < 0.8
