"""The picture beside the verdict: the frame of the worst finding, with the failing measure drawn and numbered.

Where that is too small to be seen, differences from the reference are drawn larger, as the player does it, and the
label says so; the second drawing shows the same place as it is.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.feed.window import steps_of_run, window_of
from harness.report.draw import place
from harness.report.finding import WorstFrame
from harness.report.magnify import TIMES, magnified, points_of, references_of, times_that_show
from harness.report.pictures import SHARP, camera_of, rgb_of, webp
from harness.run.facts import RunFacts
from harness.run.recordings import Recordings
from trueline import TruelineError

__all__ = ["first_picture"]

Points = NDArray[np.float64]

WIDE = 0.25  # a gap wider than this share of the picture needs no second, larger drawing
AROUND = 3.5  # of the gap's size that the second drawing shows
LARGEST = 40.0  # times
MOST_GROUND = 0.5  # of the picture's size that is shown beside it, for what lies outside


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Pixels of what is drawn: lines and strokes with their kinds, and where the number stands, [0 or 1, 2]."""

    lines: Sequence[tuple[str, Points]]
    strokes: Sequence[tuple[str, Points]]
    at: Points

    @property
    def gaps(self) -> list[Points]:
        """What is measured."""
        return [p for kind, p in self.strokes if kind == "gap" and len(p)]

    @property
    def meant(self) -> list[Points]:
        """The same, or the lines that are meant where there is no gap."""
        return [p for kind, p in self.strokes if kind == "gap"] or [p for _, p in self.strokes]

    def texts(self) -> dict[str, list[tuple[str, str]]]:
        """Points as SVG has them."""
        return {
            "lines": [(k, _text(p)) for k, p in self.lines if len(p) > 1],
            "strokes": [(k, _text(p)) for k, p in self.strokes if len(p) > 1],
        }


def first_picture(
    found: WorstFrame, view: Mapping[str, Any], rows: pl.DataFrame, facts: RunFacts, recordings: Recordings
) -> dict[str, Any] | None:
    """What the template draws.

    Args:
        found: the finding.
        view: the same as the page has it, with its mark; `id` of the picture where a page has several, `inset` and
            `times` where another drawing says what is shown larger.
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

    drawn = {times: _drawn(here, found, facts, view["mark"], times, pixels) for times in TIMES}
    true = drawn[1]
    times = view.get("times") or 1
    if true.gaps and found.sentence:
        times = times_that_show(lambda n: _share(drawn[n].gaps, size))
    large = drawn[times]
    unseen = _unseen(true.meant, size, drawable=drawable) if view["mark"]["strokes"] else ""
    box = _box(large.meant, size, outside=bool(unseen))
    badge = f"{view['badge']}, drawn ×{times}" if times > 1 and view["badge"] else view["badge"]
    larger = f"differences drawn ×{times} (the corner shows them as they are)" if times > 1 else ""
    src = "" if rgb is None else "data:image/webp;base64," + base64.b64encode(webp(rgb, *SHARP)).decode("ascii")
    return {
        "src": src, "width": size[0], "height": size[1], "box": box, **large.texts(), "true": true.texts(),
        "note": "; ".join(filter(None, (larger, note, unseen))), "times": times,
        "label": _label(large.at, box, badge, [p for _, p in (*large.lines, *large.strokes)]),
        "inset": view.get("inset") or _inset(true.gaps, size),
        "badge": badge, "id": view.get("id", "first-image"), "caption": _caption(view),
        "finding": view["index"], "case": found.case,
        "frame": view["frame"], "band": found.band, "rung_name": found.rung,
    }  # fmt: skip


def _drawn(
    rows: pl.DataFrame, found: WorstFrame, facts: RunFacts, mark: Mapping[str, Any], times: int,
    pixels: Callable[[Any], Points],
) -> _Drawn:  # fmt: skip
    """The reference's lines below, those of the finding's rung above, and the strokes; differences larger."""
    references = references_of(rows, facts.reference)

    def placed(points: Any, track: int | None) -> Points:
        base = None if track is None else references.get(track)
        return pixels(magnified(np.asarray(points, np.float64).reshape(-1, 2), base, facts.grid, times))

    lines: list[tuple[str, Points]] = []
    for name, kind in {facts.reference: "lab", found.rung: "car"}.items():
        own = rows.filter(pl.col("rung") == name).select("x", "y", "track")
        lines += [(kind, placed(points_of(x, y), track)) for x, y, track in own.iter_rows()]
    strokes = [(kind, placed(points, found.track)) for kind, points in mark["strokes"]]
    at = placed([mark["at"]], found.track) if mark["at"] is not None else np.zeros((0, 2))
    return _Drawn(lines, strokes, at)


def _share(gaps: Sequence[Points], size: tuple[int, int]) -> float:
    """The larger side of what is measured, as a share of the picture; 0 where there is nothing."""
    points = np.concatenate([np.zeros((0, 2)), *gaps])
    return float((np.ptp(points, axis=0) / size).max()) if len(points) else 0.0


def _caption(view: Mapping[str, Any]) -> str:
    return f"{view['badge']}, {view['case']}, frame {view['frame']}"


def _unseen(meant: Sequence[Points], size: tuple[int, int], *, drawable: bool) -> str:
    """Why what is measured is not seen on the picture; empty where some of it is."""
    if not drawable:
        return "this camera has no calibration, so the lines are drawn from above only"
    points = np.concatenate([np.zeros((0, 2)), *meant])
    if not len(points):
        return "what is measured lies behind the camera"
    low, high = points.min(axis=0), points.max(axis=0)
    sides = [
        *(["left"] if high[0] < 0 else ["right"] if low[0] > size[0] - 1 else []),
        *(["above"] if high[1] < 0 else ["below"] if low[1] > size[1] - 1 else []),
    ]
    return f"what is measured lies outside the picture ({' and '.join(sides)})" if sides else ""


def _box(meant: Sequence[Points], size: tuple[int, int], *, outside: bool) -> tuple[float, float, float, float]:
    """Left, top, width, height of what is shown: the picture, and ground beside it where what is measured is near."""
    low, high = np.zeros(2), np.subtract(size, 1.0)
    if outside and any(p.size for p in meant):
        points = np.concatenate(meant)
        air, most = np.multiply(size, 0.05), np.multiply(size, MOST_GROUND)
        if (points >= low - most).all() and (points <= high + most).all():
            low, high = np.minimum(low, points.min(axis=0) - air), np.maximum(high, points.max(axis=0) + air)
    left, top, right, bottom = (round(float(v), 2) for v in (*(low - 0.5), *(high + 0.5)))
    return left, top, right - left, bottom - top


def _label(
    at: Points, box: tuple[float, float, float, float], text: str, lines: Sequence[Points]
) -> dict[str, Any] | None:
    """Where the number stands: beside the place, inside what is shown, where it hides least of the lines."""
    if not len(at):
        return None
    left, top, wide, high = box
    scale = wide / 640
    width = 16 + 7.4 * len(text)
    size = np.multiply((width, 24), scale)
    low, most = np.add((left, top), 2), np.subtract((left + wide, top + high), size + 4 * scale)
    corners = [np.clip(at[0] + np.multiply(beside, scale), low, most) for beside in _beside(width)]
    points = np.concatenate([np.zeros((0, 2)), *map(_filled, lines)])
    u, v = min(corners, key=lambda corner: int(((points >= corner) & (points <= corner + size)).all(axis=1).sum()))
    return {"u": round(float(u), 1), "v": round(float(v), 1), "scale": round(scale, 4), "width": round(width, 1)}


def _beside(width: float) -> list[tuple[float, float]]:
    """Corners of a label of that width about a place, in pixels of a picture 640 wide; the usual one first."""
    right, left = 12.0, -12.0 - width
    return [(u, v) for v in (-40.0, 16.0, -72.0, 48.0) for u in (right, left)]


def _filled(line: Points) -> Points:
    """A line's points with others between them, so that none of its pieces is passed over."""
    if len(line) < 2:
        return line
    share = np.linspace(0, 1, 8)[:, None, None]
    return (line[:-1] + share * (line[1:] - line[:-1])).reshape(-1, 2)


def _inset(gaps: Sequence[Points], size: tuple[int, int]) -> dict[str, Any] | None:
    """Box and enlargement of a second drawing about what is measured; None where that is large enough."""
    if not gaps:
        return None
    points = np.concatenate(gaps)
    low, high = points.min(axis=0), points.max(axis=0)
    share = _share(gaps, size)
    if share > WIDE:
        return None
    times = float(np.clip(1 / (AROUND * max(share, 1e-6)), 2.0, LARGEST))
    width, height = size[0] / times, size[1] / times
    left, top = ((low + high) / 2 - (width / 2, height / 2)).tolist()
    return {"box": (round(left, 2), round(top, 2), round(width, 2), round(height, 2)), "times": f"{times:.0f}"}


def _text(points: Points) -> str:
    return " ".join(f"{u:.2f},{v:.2f}" for u, v in points if np.isfinite(u) and np.isfinite(v))
