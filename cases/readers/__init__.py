"""Readers of the three kinds of camera stream: one module per kind, named as in case.toml."""

from __future__ import annotations

from collections.abc import Callable

from cases.readers.base import Reader, Stream
from cases.readers.images import ImageReader
from cases.readers.tensors import TensorReader
from cases.readers.video import VideoReader
from cases.schema import CameraKind

__all__ = ["open_reader"]

READERS: dict[CameraKind, Callable[[Stream], Reader]] = {
    "video": VideoReader,
    "images": ImageReader,
    "tensors": TensorReader,
}


def open_reader(stream: Stream) -> Reader:
    """The reader of a camera's kind; files are touched when pictures are asked for."""
    return READERS[stream.meta.kind](stream)
