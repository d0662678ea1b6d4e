"""An explanation as the report shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.report.facts import RunFacts
from harness.report.palette import RungStyle

__all__ = ["blame_view"]


def blame_view(explanation: Any, facts: RunFacts, styles: Mapping[str, RungStyle]) -> dict[str, Any] | None:
    return None
