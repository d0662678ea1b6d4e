"""The picture beside the verdict: the worst frame that has one, with the lines of its rung and of the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["first_picture"]


def first_picture(frames: Sequence[Mapping[str, Any]], reference: int) -> dict[str, Any] | None:
    """What the template draws; None where no frame has a picture with lines of its rung on it.

    Args:
        frames: views of the frames shown, worst first, with `picture` and each line's `pixels` where there are any.
        reference: position of the reference among the rungs.

    Returns:
        `src`, `width`, `height`, `caption`, `rung_name`, and `lines`: (whether it is the reference's, SVG points).
    """
    seen = [frame for frame in frames if _is_drawn(frame)]  # a line that is missing or not finite is no picture of it
    for frame in [*seen, *frames]:
        drawn = [line for line in frame["lines"] if len(line.get("pixels", ())) > 1]
        own = [line for line in drawn if line["rung"] == frame["rung"] != reference]
        if not frame.get("picture") or not own:
            continue
        others = [line for line in drawn if line["rung"] == reference]
        picture = frame["picture"]
        size = {key: picture[key] for key in ("src", "width", "height")}
        lines = [(True, _points(line)) for line in others] + [(False, _points(line)) for line in own]
        caption = f"{frame['label']} {frame['value']}, {frame['case']}, frame {frame['frame']}"
        return {**size, "caption": caption, "rung_name": frame["rung_name"], "lines": lines}
    return None


def _is_drawn(frame: Mapping[str, Any]) -> bool:
    """Whether the frame's own line, that which the finding is of, can be seen on its rung."""
    found = [line for line in frame["lines"] if line["rung"] == frame["rung"] and line["track"] == frame["track"]]
    return frame["track"] is not None and any(len(line.get("pixels", ())) > 1 for line in found)


def _points(line: Mapping[str, Any]) -> str:
    return " ".join(f"{u:.1f},{v:.1f}" for u, v in np.asarray(line["pixels"]) if np.isfinite(u) and np.isfinite(v))
