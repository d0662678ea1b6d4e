"""The synthetic road: a camera on a vehicle on a road of clothoids, with exact ground truth (docs/roadlines.md)."""

from __future__ import annotations

from cases.synth.conditions import CONDITIONS, under
from cases.synth.render import Frame, render_clip, render_frame
from cases.synth.scene import Scene, draw_scene
from cases.synth.write import camera_picture, case_id, synth_cases, write_synth_case

__all__ = [
    "CONDITIONS",
    "Frame",
    "Scene",
    "camera_picture",
    "case_id",
    "draw_scene",
    "render_clip",
    "render_frame",
    "synth_cases",
    "under",
    "write_synth_case",
]
