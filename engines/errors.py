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
    │   └── RecordingGap     the recording lost this frame; it has no outputs, the rung goes on
    │       └── NotRecorded  nobody recorded this frame; it counts for nothing, the rung goes on
    └── EngineCrashed        inference itself failed; the rung is lost, the others go on
"""

from __future__ import annotations

from typing import ClassVar, Literal

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
    "NotRecorded",
    "RecordingError",
    "RecordingGap",
    "UnknownEngine",
]


class EngineError(TruelineError):
    """Any error of an engine.

    Attributes:
        rung_status: what a rung is whose engine raised it: `crashed`, or `not_run` where nothing was wrong with the
            engine, but nothing could be asked of it.
    """

    rung_status: ClassVar[Literal["crashed", "not_run"]] = "crashed"


class UnknownEngine(EngineError):
    """No engine of that name."""


class EngineUnavailable(EngineError):
    """A known engine that this machine or this model cannot run."""

    rung_status = "not_run"


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

    rung_status = "not_run"


class RecordingGap(RecordingError):
    """The recording lost this frame: it has no outputs, which is a finding of its own, and the rung goes on."""


class NotRecorded(RecordingGap):
    """The recording never was to hold this frame: it began later, ended before, or keeps every third one."""


class EngineCrashed(EngineError):
    """Inference failed, or an engine broke while it opened; the rung is lost, the others go on."""
