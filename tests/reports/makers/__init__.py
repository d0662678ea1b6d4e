"""One maker a report: `maker(folder, variant)` writes the situation and returns it with the right answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.reports.makers import car, export, numerics, pipeline, runtime
from tests.reports.trial import Trial
from tests.reports.variant import Variant

__all__ = ["MAKERS", "Maker"]

Maker = Callable[[Path, Variant], Trial]

MAKERS: dict[str, Maker] = {**export.MAKERS, **numerics.MAKERS, **runtime.MAKERS, **pipeline.MAKERS, **car.MAKERS}
