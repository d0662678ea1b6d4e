"""Errors of engines and of the artefacts they run.

TruelineError
└── EngineError
    ├── UnknownEngine        no engine of that name
    ├── EngineUnavailable    known, but this machine or this model cannot run it
    ├── EngineOptionError    an option that the engine does not have, or a value it cannot take
    ├── ModelLoadError       weights, ONNX file or plan that do not load or do not fit
    ├── ExportError          PyTorch to ONNX went wrong, or gave another opset than asked for
    ├── EngineInputError     an input is missing, or has another shape or dtype than the model's
    ├── EngineOutputMissing  an output that the card names is not there
    ├── RecordingError       dumped outputs that cannot be read or aligned
    │   └── RecordingGap     no dumped frame close enough to this one; the frame has no outputs, the rung goes on
    └── EngineCrashed        inference itself failed; the rung is lost, the others go on
"""

from __future__ import annotations

from trueline import TruelineError

__all__ = [
    "EngineCrashed",
    "EngineError",
    "EngineInputError",
    "EngineOptionError",
    "EngineOutputMissing",
    "EngineUnavailable",
    "ExportError",
    "ModelLoadError",
    "RecordingError",
    "RecordingGap",
    "UnknownEngine",
]


class EngineError(TruelineError):
    """Any error of an engine."""


class UnknownEngine(EngineError):
    """No engine of that name."""


class EngineUnavailable(EngineError):
    """A known engine that this machine or this model cannot run."""


class EngineOptionError(EngineError):
    """An option that the engine does not have, or a value it cannot take."""


class ModelLoadError(EngineError):
    """Weights, ONNX file or plan that do not load or do not fit."""


class ExportError(EngineError):
    """The export failed or gave another opset than asked for."""


class EngineInputError(EngineError):
    """An input is missing or has another shape or dtype than the model's."""


class EngineOutputMissing(EngineError):
    """An output that the card names is not there."""


class RecordingError(EngineError):
    """Dumped outputs that cannot be read or aligned."""


class RecordingGap(RecordingError):
    """No dumped frame is close enough to this one: the frame has no outputs, and the rung goes on."""


class EngineCrashed(EngineError):
    """Inference failed; the rung is lost, the others go on."""
