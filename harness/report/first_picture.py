"""The picture beside the verdict: the frame of the worst finding, with the failing measure drawn and numbered."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.feed.window import steps_of_run, window_of
from harness.report.draw import place
from harness.report.finding import WorstFrame
from harness.report.pictures import SHARP, camera_of, rgb_of, webp
from harness.run.facts import RunFacts
from harness.run.recordings import Recordings
from trueline import TruelineError

__all__ = ["first_picture"]

Points = NDArray[np.float64]

WIDE = 0.25  # a gap wider than this share of the picture needs no second, larger drawing
AROUND = 3.5  # of the gap's size that the second drawing shows
LARGEST = 40.0  # times


def first_picture(
    found: WorstFrame, view: Mapping[str, Any], rows: pl.DataFrame, facts: RunFacts, recordings: Recordings
) -> dict[str, Any] | None:
    """What the template draws.

    Args:
        found: the finding.
        view: the same as the page has it, with its mark; `id` of the picture where a page has several, `inset` where
            another drawing says what is shown larger.
        rows: lines of its case.
        facts: of the run.
        recordings: its cases.

    Returns:
        None where there is neither a picture nor a frame of pixels to draw on.
    """
    here = rows.filter(pl.col("frame") == found.frame)
    try:
        case = recordings.open(found.case)
        camera = camera_of(case, facts.meta)
        rgb = next((rgb for _, rgb in rgb_of(case, camera, [found.frame])), None)
        calibration = case.calibration(camera)
        note = "" if rgb is not None else "the camera has no picture at this frame"
    except TruelineError as error:
        rgb, calibration, note = None, None, f"no picture: {error.what}"
    grid = facts.grid
    if rgb is not None:
        size = (rgb.shape[1], rgb.shape[0])
    elif grid.frame == "image" and grid.width:
        size = (int(grid.width), int(grid.height))
    else:
        return None
    drawable = grid.frame == "image" or (
        calibration is not None and calibration.intrinsics is not None and calibration.camera_to_vehicle is not None
    )
    window = window_of(steps_of_run(facts.meta) if rgb is not None else (), size, (grid.width, grid.height))

    def pixels(points: Any) -> Points:
        if not drawable:
            return np.zeros((0, 2))
        return place(np.asarray(points, np.float64).reshape(-1, 2), grid, calibration, window)  # type: ignore[arg-type]  # the image frame asks for none

    lines = [(kind, pixels(points)) for kind, points in _lines(here, found, facts.reference)]
    strokes = [(kind, pixels(points)) for kind, points in view["mark"]["strokes"]]
    at = pixels([view["mark"]["at"]]) if view["mark"]["at"] is not None else np.zeros((0, 2))
    src = "" if rgb is None else "data:image/webp;base64," + base64.b64encode(webp(rgb, *SHARP)).decode("ascii")
    return {
        "src": src, "width": size[0], "height": size[1], "note": note, "box": f"-0.5 -0.5 {size[0]} {size[1]}",
        "lines": [(k, _text(p)) for k, p in lines if len(p) > 1],
        "strokes": [(k, _text(p)) for k, p in strokes if len(p) > 1],
        "label": _label(at, size, view["badge"]),
        "inset": view.get("inset") or _inset([p for k, p in strokes if len(p) and k == "gap"], size),
        "badge": view["badge"], "id": view.get("id", "first-image"), "caption": _caption(view),
        "finding": view["index"], "case": found.case,
        "frame": view["frame"], "band": found.band, "rung_name": found.rung,
    }  # fmt: skip


def _lines(rows: pl.DataFrame, found: WorstFrame, reference: str) -> list[tuple[str, Points]]:
    """The reference's lines below, those of the finding's rung above."""
    drawn = []
    for name, kind in ((reference, "lab"), (found.rung, "car")):
        for x, y in rows.filter(pl.col("rung") == name).select("x", "y").iter_rows():
            points = np.stack([np.asarray(x or [], np.float64), np.asarray(y or [], np.float64)], axis=1)
            drawn.append((kind, points[np.isfinite(points).all(axis=1)]))
        if found.rung == reference:
            break
    return drawn


def _caption(view: Mapping[str, Any]) -> str:
    return f"{view['badge']}, {view['case']}, frame {view['frame']}"


def _label(at: Points, size: tuple[int, int], text: str) -> dict[str, Any] | None:
    """Where the number stands: beside the place, inside the picture."""
    if not len(at):
        return None
    scale = size[0] / 640
    width = 16 + 7.4 * len(text)
    u = float(np.clip(at[0, 0] + 12 * scale, 2, size[0] - (width + 4) * scale))
    v = float(np.clip(at[0, 1] - 40 * scale, 2, size[1] - 28 * scale))
    return {"u": round(u, 1), "v": round(v, 1), "scale": round(scale, 4), "width": round(width, 1)}


def _inset(gaps: Sequence[Points], size: tuple[int, int]) -> dict[str, Any] | None:
    """Box and enlargement of a second drawing about what is measured; None where that is large enough."""
    if not gaps:
        return None
    points = np.concatenate(gaps)
    low, high = points.min(axis=0), points.max(axis=0)
    share = float(max((high - low) / size))
    if share > WIDE:
        return None
    times = float(np.clip(1 / (AROUND * max(share, 1e-6)), 2.0, LARGEST))
    width, height = size[0] / times, size[1] / times
    left, top = ((low + high) / 2 - (width / 2, height / 2)).tolist()
    return {"box": f"{left:.2f} {top:.2f} {width:.2f} {height:.2f}", "times": f"{times:.0f}"}


def _text(points: Points) -> str:
    return " ".join(f"{u:.2f},{v:.2f}" for u, v in points if np.isfinite(u) and np.isfinite(v))
