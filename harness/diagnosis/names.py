"""The classes of mismatch that a diagnosis can name, one place for their names and what each means.

A fault of `harness/faults` whose true stage is preprocessing names its class here as its true diagnosis.
"""

from __future__ import annotations

__all__ = ["CLASSES"]

CLASSES: dict[str, str] = {
    "channel_order": "the channels stand in another order, such as R and B swapped",
    "layout": "the same numbers read in another layout: NHWC memory taken for NCHW, or the other way",
    "range": "limited-range video read as full range, or the other way",
    "scale": "values scaled by a power of 255 too much or too little: /255 missing, or done twice",
    "normalisation": "another mean or std: wrong, swapped, or in another order of channels",
    "matrix": "another YCbCr matrix: bt601, bt709 or bt2020",
    "chroma": "colour samples placed or enlarged in another way: siting and kernel",
    "gamma": "another brightness curve",
    "shift": "the picture moved by a fraction of a pixel or more, with no cut or coordinate rule that makes it",
    "coordinates": "the resize counts positions by another rule: half-pixel, align-corners, asymmetric",
    "crop": "the box is cut out elsewhere, by whole pixels of what reaches the crop",
    "zoom": "the picture at another scale about its centre",
    "letterbox": "letterbox against stretch, another place of the picture in it, or another padding",
    "kernel": "another resize kernel: nearest, bilinear, cubic, area",
    "antialias": "the resize widens its kernel when shrinking, or does not",
    "rounding": "rounded to whole levels, truncated, or not at all; fixed against floating point",
    "jpeg": "the picture went through JPEG",
    "stale": "frames are repeated: the network got one picture several times",
    "lag": "every frame is the picture of some frames ago",
    "flip": "mirrored left to right, or upside down",
    "undistort": "lens distortion left in, or removed where it should not be",
    "camera": "the picture of another camera",
}
"""Name of a class -> what it means."""
