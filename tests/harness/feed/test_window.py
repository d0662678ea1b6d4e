"""A line's pixel in the network's image lies in the recorded picture where the pipeline took it from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.feed.preprocess.geometry import crop, letterbox
from harness.feed.preprocess.resample import resize
from harness.feed.window import window_of
from tests.strategies import quick

SIZE = (96, 64)


def bumps() -> np.ndarray:
    """A picture in which every pixel tells its own column and row."""
    u, v = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    return np.stack([u, v, 0 * u], axis=-1).astype(np.float32)


def run(steps: list[dict[str, Any]]) -> np.ndarray:
    pixels = bumps()
    for step in steps:
        options = {k: v for k, v in step.items() if k not in ("op", "step")}
        if step["op"] == "crop":
            pixels = crop(pixels, tuple(options["box"]))
        elif step["op"] == "resize":
            pixels = resize(pixels, tuple(options["size"]))
        elif step["op"] == "letterbox":
            pixels = letterbox(pixels, tuple(options["size"]), pad=-1.0, anchor=options.get("anchor", "center"))
    return pixels


CROP = {"op": "crop", "box": [8, 16, 64, 48]}
RESIZE = {"op": "resize", "size": [32, 24]}
LETTERBOX = {"op": "letterbox", "size": [48, 48]}


@pytest.mark.parametrize(
    "steps",
    [[CROP], [RESIZE], [CROP, RESIZE], [RESIZE, {"op": "crop", "box": [4, 2, 20, 20]}], [LETTERBOX], [CROP, LETTERBOX],
     [{"op": "letterbox", "size": [48, 48], "anchor": "topleft"}],
     [{"op": "to_rgb"}, CROP, {"op": "normalise"}, RESIZE]],
)  # fmt: skip
def test_the_picture_tells_where_its_pixels_came_from(steps: list[dict[str, Any]]) -> None:
    pixels = run([s for s in steps if s["op"] in ("crop", "resize", "letterbox")])
    height, width = pixels.shape[:2]
    window = window_of(steps, SIZE, (width, height))
    for v, u in np.ndindex(height, width):
        came_from, inside = pixels[v, u, :2], pixels[v, u, 2] == 0
        if inside and 2 < came_from[0] < SIZE[0] - 3 and 2 < came_from[1] < SIZE[1] - 3:
            assert window.recorded(np.array([[float(u), float(v)]]))[0] == pytest.approx(came_from, abs=0.05)


@quick
@given(st.integers(8, 400), st.integers(8, 400))
def test_an_image_of_the_recordings_size_is_the_recording(width: int, height: int) -> None:
    points = np.array([[0.0, 0.0], [3.5, 7.25]])
    window = window_of([{"op": "resize", "size": [width, height]}], (width, height), (width, height))
    np.testing.assert_allclose(window.recorded(points), points)


@pytest.mark.parametrize("steps", [[CROP, {"op": "warp", "size": [32, 24]}], [{"op": "mine:Step"}]])
def test_what_no_box_can_say_is_the_whole_picture_scaled(steps: list[dict[str, Any]]) -> None:
    window = window_of(steps, SIZE, (32.0, 24.0))
    assert (window.left, window.top, window.width, window.height) == (0, 0, *SIZE)
