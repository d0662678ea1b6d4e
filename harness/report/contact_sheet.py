"""`trueline case show`: a contact sheet of a case, with ground truth and the lines of a run drawn on its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cases.case import Case
from harness.errors import ReportError, UsageError
from harness.feed.preprocess.colour import to_rgb_u8
from harness.feed.window import steps_of_run, window_of
from harness.ladder.tree import Tree
from harness.lines.table import CLOSED, LineTable
from harness.model.grid import Grid, grid_from_json, image_grid, vehicle_grid
from harness.report.draw import Colour, draw_lines, place, write_caption
from harness.report.palette import HUES
from harness.run.facts import read_facts
from harness.run.folder import Run
from trueline._drafts import replacing

__all__ = ["BELOW", "Layer", "contact_sheet", "draw_sheet", "rungs_shown"]

CELL_WIDTH = 480
BELOW = 8  # width of the reference's lines, pixels; rungs lie on them
TRUTH_COLOUR: Colour = (255, 255, 255)


def contact_sheet(
    case: Case,
    out: Path,
    *,
    run: Run | None = None,
    rungs: Sequence[str] | None = None,
    count: int = 12,
    columns: int = 3,
    camera: str | None = None,
) -> Path:
    """Draw frames spread evenly over a case into one PNG.

    Args:
        case: the case.
        out: the PNG.
        run: a run that holds the case; its lines are drawn.
        rungs: rungs to draw; default the reference and every rung that is no probe.
        count: how many frames.
        columns: pictures in a row.
        camera: which camera; default the first.

    Raises:
        UsageError: the camera has no pictures, or the run lacks the case or a rung.
        ReportError: lines in metres on an uncalibrated camera, or the file cannot be written.
    """
    camera = camera or case.cameras[0]
    if case.meta.cameras[camera].kind == "tensors":
        raise UsageError(
            f"camera {camera!r} recorded tensors, not pictures", where=f"case {case.id}", remedy="show another case"
        )
    layers = _layers(case, run, rungs)
    wanted = np.unique(np.linspace(0, len(case.frame_numbers) - 1, count).round().astype(int))
    draw_sheet(case, camera, layers, case.frame_numbers[wanted].tolist(), out, columns)
    return out


@dataclass(frozen=True, slots=True)
class Layer:
    """Lines of one origin.

    Attributes:
        name: in the caption.
        colour: of lines and caption.
        grid: of the lines.
        lines: with the case's frame numbers.
        steps: resolved steps of the pipeline that they came from.
        width: of the lines, pixels; what lies below is drawn wider, so that equal lines show both.
    """

    name: str
    colour: Colour
    grid: Grid
    lines: LineTable
    steps: Sequence[Mapping[str, Any]] = ()
    width: int = 2


def draw_sheet(
    case: Case, camera: str, layers: Sequence[Layer], frames: Sequence[int], out: Path, columns: int = 3
) -> None:
    """Draw frames of a case with lines into one PNG.

    Args:
        case, camera: whose pictures.
        layers: drawn one above the other.
        frames: numbers of the case's frames.
        out: the PNG.
        columns: pictures in a row.

    Raises:
        ReportError: lines in metres on an uncalibrated camera, or the file cannot be written.
    """
    chosen, start = set(frames), case.timestamps_ns[0]
    last = int(np.flatnonzero(np.isin(case.frame_numbers, list(chosen)))[-1])
    cells = [
        _cell(case, camera, to_rgb_u8(tick.pictures[camera]), tick.frame, (tick.timestamp_ns - start) / 1e9, layers)
        for tick in case.ticks([camera], stop=last + 1)
        if tick.frame in chosen
    ]
    _write(out, _tiled(cells, min(columns, len(cells))))


def _layers(case: Case, run: Run | None, rungs: Sequence[str] | None) -> list[Layer]:
    """What is drawn, from below: ground truth, then one layer for each rung."""
    layers: list[Layer] = []
    truth = case.truth()
    if truth is not None:
        camera = next(iter(case.meta.cameras.values()))
        grid = vehicle_grid() if case.meta.truth_frame == "vehicle" else image_grid(camera.width, camera.height, (1, 0))
        layers.append(Layer("truth", TRUTH_COLOUR, grid, LineTable.from_polars(truth), width=BELOW + 3))
    if run is None:
        return layers
    names = [r["name"] for r in run.rungs]
    if case.id not in [c["id"] for c in run.meta["cases"]]:
        raise UsageError(f"the run has no case {case.id!r}", where=str(run.path), remedy="replay this case")
    for name in sorted(rungs or rungs_shown(run), key=lambda n: n != run.reference):
        if name not in names:
            raise UsageError(f"the run has no rung {name!r}", where=str(run.path), remedy=f"use one of {names}")
        lines = run.table("lines").filter(pl.col("case") == case.id, pl.col("rung") == name).collect()
        grid = grid_from_json(run.meta["card"]["grid"])
        colour = _rgb(HUES[len(layers) % len(HUES)])
        width = BELOW if name == run.reference else 2
        layers.append(Layer(name, colour, grid, LineTable.from_polars(lines), steps_of_run(run.meta), width))
    return layers


def rungs_shown(run: Run) -> list[str]:
    """The reference and every rung with findings of its own that ran: what a sheet shows unless told otherwise."""
    tree = Tree(read_facts(run.meta).rungs.values(), run.reference)
    return [run.reference, *(node.name for node in tree.chain())]


def _cell(
    case: Case, camera: str, rgb: NDArray[np.uint8], frame: int, seconds: float, layers: Sequence[Layer]
) -> NDArray[np.uint8]:
    """One picture with its lines and captions, CELL_WIDTH wide."""
    import cv2

    height, width = rgb.shape[:2]
    size = (CELL_WIDTH, round(height * CELL_WIDTH / width))
    cell = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    scale = CELL_WIDTH / width
    for row, layer in enumerate(layers):
        grid, lines = layer.grid, layer.lines
        window = window_of(layer.steps, (width, height), (grid.width, grid.height))
        for i in np.flatnonzero(lines.frame == frame).tolist():
            pixels = (place(lines.points(i), grid, case.calibration(camera), window) + 0.5) * scale - 0.5
            closed = bool(lines.topology[i] == CLOSED)
            draw_lines(cell, [pixels], layer.colour, width=layer.width, closed=closed)
        write_caption(cell, layer.name, layer.colour, row + 1)
    write_caption(cell, f"{case.id}  frame {frame}  {seconds:.2f} s")
    return cell


def _tiled(cells: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Cells side by side, row by row; missing ones at the end are black."""
    blank = np.zeros_like(cells[0])
    padded = [*cells, *[blank] * (-len(cells) % columns)]
    rows = [np.concatenate(padded[i : i + columns], axis=1) for i in range(0, len(padded), columns)]
    return np.concatenate(rows)


def _write(out: Path, rgb: NDArray[np.uint8]) -> None:
    import cv2

    png = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1]
    try:
        with replacing(out) as draft:
            draft.write_bytes(png.tobytes())
    except OSError as error:
        raise ReportError(
            f"cannot write it: {error.strerror}", where=str(out), remedy="choose another --out"
        ) from error


def _rgb(code: str) -> Colour:
    return (int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16))
