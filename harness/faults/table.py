"""The table of faults."""

from __future__ import annotations

from harness.faults import car, export, preprocess
from harness.faults.protocol import Fault

__all__ = ["FAULTS"]

_ALL = (
    Fault("rb_swap", "preprocess", "offset_mean", "red and blue swapped", preprocess.rb_swap),
    Fault("range_mismatch", "preprocess", "offset_mean", "limited range read as full", preprocess.range_mismatch),
    Fault("nearest_resize", "preprocess", "jitter", "nearest-pixel resize", preprocess.nearest_resize),
    Fault("half_pixel_shift", "preprocess", "offset_mean", "resize from corners", preprocess.half_pixel_shift),
    Fault("stale_frame", "preprocess", "lag_frames", "picture of three frames ago", preprocess.stale_frame),
    Fault("batchnorm_training", "export", "offset_mean", "exported in training mode", export.batchnorm_training),
    Fault("wrong_checkpoint", "export", "offset_mean", "exported from another checkpoint", export.wrong_checkpoint),
    Fault("dropped_frames", "car", "missing", "frames lost in the recording", car.dropped_frames),
    Fault("far_bow", "car", "bend", "lines bow by 0.2 m in the far band", car.far_bow),
    Fault("swing_1hz", "car", "swing", "lines swing by 0.4 m at 1 Hz", car.swing_1hz),
)
FAULTS: dict[str, Fault] = {f.name: f for f in _ALL}
