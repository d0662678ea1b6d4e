"""Errors of the harness: cards, policies, runs and usage.

TruelineError
└── HarnessError
    ├── CardError          a model card that cannot be used
    ├── PreprocessError    a preprocessing pipeline that cannot run
    ├── OutputError        outputs that are not what the card declares
    ├── DecoderError       outputs that cannot become lines
    ├── PolicyError        a policy that cannot be judged
    │   └── UnitMismatch   a limit in one unit, a metric in another
    ├── RunError           a run folder that is missing, foreign or incomplete
    ├── MetricError        arrays a metric is not defined for
    │   └── CaseTooShort   fewer frames than a metric needs
    ├── DiagnosisError     input tensors that cannot be compared
    ├── FaultError         a fault that cannot be planted into this model or case
    ├── CannotTell         a perturbation whose effect on the true line is not known here
    ├── ReportError        a report that cannot be drawn
    └── UsageError         a command line that asks for something impossible
"""

from __future__ import annotations

from trueline import TruelineError

__all__ = [
    "CannotTell",
    "CardError",
    "CaseTooShort",
    "DecoderError",
    "DiagnosisError",
    "FaultError",
    "HarnessError",
    "MetricError",
    "OutputError",
    "PolicyError",
    "PreprocessError",
    "ReportError",
    "RunError",
    "UnitMismatch",
    "UsageError",
]


class HarnessError(TruelineError):
    """Any error of the harness."""


class CardError(HarnessError):
    """A model card that cannot be used."""


class PreprocessError(HarnessError):
    """A preprocessing pipeline that cannot run."""


class OutputError(HarnessError):
    """Outputs that are not what the card declares, or change their shape."""


class DecoderError(HarnessError):
    """Outputs that cannot become lines."""


class PolicyError(HarnessError):
    """A policy that cannot be judged."""


class UnitMismatch(PolicyError):
    """A limit is in one unit and its metric in another."""


class RunError(HarnessError):
    """A run folder that is missing, foreign or incomplete."""


class MetricError(HarnessError):
    """Arrays that a metric is not defined for."""


class CaseTooShort(MetricError):
    """Fewer frames than a metric needs."""


class FaultError(HarnessError):
    """A fault that cannot be planted into this model or case."""


class DiagnosisError(HarnessError):
    """Input tensors that cannot be compared."""


class CannotTell(HarnessError):
    """A perturbation that cannot be made here, or whose effect on the true line is not known."""


class ReportError(HarnessError):
    """A report that cannot be drawn."""


class UsageError(HarnessError):
    """A command line that asks for something impossible."""
