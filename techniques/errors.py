"""Errors of training requests.

TruelineError
└── TechniqueError
    ├── UnknownTechnique      no technique of that name
    ├── TechniqueOptionError  an option that the technique does not have, or a value it cannot take
    ├── TechniqueConflict     two techniques that claim the same place in a training run
    ├── TaskError             a task file, or the task it names, that cannot be used
    │   └── EmptyData         a data set without a single example
    ├── ModelMismatch         models or weights that do not belong together
    ├── NonFiniteLoss         a loss, gradient or output that is not finite
    ├── Collapse              a network that answers every input alike
    └── CheckpointError       a stopped run that cannot go on from its file
"""

from __future__ import annotations

from trueline import TruelineError

__all__ = [
    "CheckpointError",
    "Collapse",
    "EmptyData",
    "ModelMismatch",
    "NonFiniteLoss",
    "TaskError",
    "TechniqueConflict",
    "TechniqueError",
    "TechniqueOptionError",
    "UnknownTechnique",
]


class TechniqueError(TruelineError):
    """Any error of a technique or of training with one."""


class UnknownTechnique(TechniqueError):
    """No technique of that name."""


class TechniqueOptionError(TechniqueError):
    """An option that the technique does not have, or a value it cannot take."""


class TechniqueConflict(TechniqueError):
    """Two techniques that claim the same place in a training run."""


class TaskError(TechniqueError):
    """A task file, or the task it names, that cannot be used."""


class EmptyData(TaskError):
    """A data set without a single example."""


class ModelMismatch(TechniqueError):
    """Models or weights that do not belong together: other keys, shapes or kinds."""


class NonFiniteLoss(TechniqueError):
    """A loss, gradient or output that is not finite."""


class Collapse(TechniqueError):
    """A network that answers every input alike."""


class CheckpointError(TechniqueError):
    """A stopped run that cannot go on from its file."""
