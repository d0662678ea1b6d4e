"""What gates found over time: one SQLite file, and which rules drift toward their limit before one breaks.

store   the file: its schema, adding a verdict, reading it back
drift   a rule's worst number over the gates, its trend, and when it would reach the limit
"""

from __future__ import annotations

from harness.history.drift import Drift, drifts
from harness.history.store import Gate, History, Number

__all__ = ["Drift", "Gate", "History", "Number", "drifts"]
