"""Two runs or more beside one another: which is better, what is new, what differs. No verdict of its own.

comparison = compare_runs([Run.open(a), Run.open(b)])
"""

from __future__ import annotations

from harness.compare.build import compare_runs
from harness.compare.model import Change, Comparison, MeasureRow, Pairing

__all__ = ["Change", "Comparison", "MeasureRow", "Pairing", "compare_runs"]
