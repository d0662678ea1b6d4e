"""What the vehicle's own lateral motion does to a line's position, so that it can be taken out of an engine's series.

A vehicle that weaves sees a still line sway. Added to the line's own lateral position, `ego_sway` leaves what the
engine itself contributes in the band above 0.15 Hz; slower motion is the road and is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.measures.spectrum import low_passed

__all__ = ["ego_sway"]

Floats = NDArray[np.float64]

_ROAD_HZ = 0.15  # slower turning follows the road
_REFLECTED_S = 20.0


def ego_sway(
    fps: float, speed_mps: Floats, yaw_rate_radps: Floats, yaw_rad: Floats, look_ahead_m: Sequence[float]
) -> Floats | None:
    """Lateral motion of the vehicle relative to its smoothed heading, at each look-ahead.

    With e the heading minus its zero-phase low-pass at 0.15 Hz, the vehicle moves left by the integral of v sin(e),
    and a point s metres ahead by s e more. A line that stands still moves right by as much: add it to compensate.

    Args:
        fps: steps per second.
        speed_mps: forward speed, [n], NaN where unknown (interpolated; all unknown counts as no translation).
        yaw_rate_radps: left positive, [n]; integrated where `yaw_rad` is unknown.
        yaw_rad: heading, [n].
        look_ahead_m: stations.

    Returns:
        Metres, left positive, [n, stations]; None where neither heading nor yaw rate is known, or in under 2 seconds.

    Source: ours; first-order kinematics of a vehicle that follows the road.
    """
    heading = _heading(fps, yaw_rate_radps, yaw_rad)
    if heading is None or len(heading) < 2 * fps:
        return None
    turn = heading - _road_heading(heading, fps)
    speed = _filled(speed_mps)
    shift = np.zeros(len(turn)) if speed is None else np.cumsum(speed * np.sin(turn)) / fps
    sway: Floats = shift[:, None] + turn[:, None] * np.asarray(look_ahead_m, np.float64)
    return sway


def _road_heading(heading: Floats, fps: float) -> Floats:
    """The heading low-passed; point reflections before and after keep a bend of the road going beyond the ends."""
    reach = min(len(heading) - 1, round(_REFLECTED_S * fps))
    before, after = 2 * heading[0] - heading[reach:0:-1], 2 * heading[-1] - heading[-2 : -reach - 2 : -1]
    smooth = low_passed(np.concatenate([before, heading, after]), fps, _ROAD_HZ)
    return smooth[reach : reach + len(heading)]


def _heading(fps: float, yaw_rate_radps: Floats, yaw_rad: Floats) -> Floats | None:
    known = np.isfinite(yaw_rad)
    if known.any():
        unwrapped = np.full(len(yaw_rad), np.nan)
        unwrapped[known] = np.unwrap(yaw_rad[known])
        return _filled(unwrapped)
    rate = _filled(yaw_rate_radps)
    return None if rate is None else np.cumsum(rate) / fps


def _filled(values: Floats) -> Floats | None:
    known = np.isfinite(values)
    if not known.any():
        return None
    at = np.arange(len(values))
    return np.interp(at, at[known], values[known])
