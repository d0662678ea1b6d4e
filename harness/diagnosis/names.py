"""The classes of mismatch that a diagnosis can name, one place for their names and what each means.

A fault of `harness/faults` whose true stage is preprocessing names its class here as its true diagnosis.
"""

from __future__ import annotations

__all__ = ["CLASSES", "REMEDIES"]

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
    "resampling": "another kernel, shift or scale: tensors alone do not tell which",
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

REMEDIES: dict[str, str] = {
    "channel_order": "swap the channels where the car fills the tensor, or take the other conversion (RGB for BGR)",
    "layout": "transpose the tensor, or give the engine the layout that it was built for",
    "range": "tell the car's conversion the range that the stream declares",
    "scale": "divide by 255 once: in the preprocessing or in the network, not in both or neither",
    "normalisation": "give the car the mean and std that the network was trained with, in the order of its channels",
    "matrix": "tell the car's conversion the matrix that the stream declares",
    "chroma": "enlarge the colour samples as the card says, with the siting that the stream declares",
    "gamma": "take the brightness curve out of the camera's settings, or train with it",
    "shift": "look for half pixels: corners against centres in the sampler, an odd offset of the region of interest",
    "coordinates": "set the scaler's coordinate rule (half-pixel, align-corners, asymmetric) to the card's",
    "crop": "cut the box out where the card says; look for rounding to even or to 16 pixels",
    "zoom": "look at the region of interest and the output size that the scaler was given",
    "letterbox": "fit and pad the picture as the card says",
    "kernel": "set the scaler's filter to the card's",
    "resampling": "diagnose with the recording: it tells kernel, shift and scale apart",
    "antialias": "set the scaler's prefilter to the card's; most hardware scalers have none",
    "rounding": "round where the card rounds: add one half before the cast",
    "jpeg": "take the picture before the encoder, or train with such pictures",
    "stale": "look at the queue between camera and network: a buffer is read before it is filled",
    "lag": "look at the queue between camera and network: it holds more frames than it should",
    "flip": "set the mirror of the camera or of the decoder to the card's",
    "undistort": "remove lens distortion as the card says, with this camera's calibration",
    "camera": "connect the camera that the card names",
}
"""Name of a class -> what to look at on the car."""
