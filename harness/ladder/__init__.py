"""The ladder explained: which step from lab to car moved the lines (docs/explain.md).

model    what an explanation is made of, as data
tree     paths through the ladder, and the rungs that show one factor alone
measures the size of one anomaly on every rung
limits   a policy's breached limits, looked at like events
blame    explain(run): the first step, the shares, the factors alone, the interaction
view     an explanation in words
"""

from __future__ import annotations

from harness.ladder.blame import explain
from harness.ladder.limits import Limit, limits_of_verdict
from harness.ladder.model import Alone, Anomaly, Explanation, Step, Suspect
from harness.ladder.view import render

__all__ = [
    "Alone",
    "Anomaly",
    "Explanation",
    "Limit",
    "Step",
    "Suspect",
    "explain",
    "limits_of_verdict",
    "render",
]
