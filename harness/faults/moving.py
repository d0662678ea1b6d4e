"""Moving lines sideways within the outputs that a decoder reads: points of a polyline, rows of a mask."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.protocol import Tensors
from harness.errors import FaultError
from harness.faults.protocol import Change
from harness.model.card import Card
from harness.model.grid import Grid

__all__ = ["By", "moved"]

By = Callable[[NDArray[Any], float], NDArray[Any]]
"""(metres ahead or rows of the picture, seconds) -> metres or pixels to the left."""


def moved(card: Card, fault: str, by: By) -> Change:
    """Move every line sideways by `by(along, seconds)`.

    Raises:
        FaultError: the decoder reads neither points nor a mask.
    """
    from harness.lines.decode.mask import MaskOptions
    from harness.lines.decode.polyline import PolylineOptions
    from harness.lines.decode.protocol import read_options

    if card.decoder.name == "polyline":
        return partial(_move_points, read_options(card, PolylineOptions), card.frame == "image", by)
    if card.decoder.name == "mask" and card.image is not None:
        return partial(_move_rows, read_options(card, MaskOptions).output, card.grid, by)
    raise FaultError(
        f"{fault} moves points or rows of a mask, and decoder {card.decoder.name!r} has none in the outputs",
        where=f"{card.path} [decoder]",
        remedy=f"leave {fault} out for this model",
    )


def _move_points(options: Any, image: bool, by: By, outputs: Tensors, seconds: float, frame: int) -> Tensors:
    lines = outputs[options.lines].copy()
    if options.stations is not None:
        along = np.broadcast_to(np.asarray(options.stations, lines.dtype), lines.shape)
        across = lines
    else:
        forward = int(image) if options.axes == "xy" else 1 - int(image)
        along, across = lines[..., forward], lines[..., 1 - forward]
    left = by(np.array(along), seconds)
    across += (-left if image else left).astype(lines.dtype)
    return {**outputs, options.lines: lines}


def _move_rows(output: str, grid: Grid, by: By, outputs: Tensors, seconds: float, frame: int) -> Tensors:
    """A mask's rows moved by parts of a pixel; what moves in at the edge repeats the outermost column."""
    import cv2

    mask = outputs[output]
    rows, columns = mask.shape[-2:]
    v, u = np.mgrid[:rows, :columns].astype(np.float32)
    left = by(np.arange(rows) * (grid.height / rows), seconds) * (columns / grid.width)
    u += np.asarray(left, np.float32)[:, None]
    flat = mask.reshape(-1, rows, columns)
    done = [cv2.remap(np.ascontiguousarray(p), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for p in flat]
    return {**outputs, output: np.stack(done).reshape(mask.shape).astype(mask.dtype)}
