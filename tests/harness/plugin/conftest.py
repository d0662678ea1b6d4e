"""pytester forgets every module that a test imports, and these cannot be imported twice in one process."""

from __future__ import annotations

import av
import cv2
import onnx
import onnxruntime
import polars
import scipy.sparse
import torch

__all__ = ["av", "cv2", "onnx", "onnxruntime", "polars", "scipy", "torch"]
