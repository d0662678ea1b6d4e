"""The ladder explained: which step from lab to car moved the lines (docs/explain.md).

model    what an explanation is made of, as data
tree     paths through the ladder, and the rungs that show one factor alone
observe  what is wrong: events against the root, and limits of a policy that are broken
sizes    the size of one finding on every rung
blame    explain(run): the first step, the shares, the factors alone, the interaction
words    findings and factors in words
view     an explanation for the terminal
"""

from __future__ import annotations

from harness.ladder.blame import explain
from harness.ladder.model import Alone, Breach, Explanation, Finding, Step, Suspect
from harness.ladder.view import render

__all__ = ["Alone", "Breach", "Explanation", "Finding", "Step", "Suspect", "explain", "render"]
