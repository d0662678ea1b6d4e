"""What is asked of a run: one statistic of one measure. Gate, explain, report and pytest ask in these words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from harness.run.catalogue import Measure, Statistic, find_measure, quantity_of
from harness.run.measure import COUNTING
from harness.run.units import Quantity

__all__ = ["HOLD_S", "Question"]

HOLD_S = 0.2  # what lasts no longer is a flicker of a line, not its shape


@dataclass(frozen=True, slots=True)
class Question:
    """A number that every case and rung has.

    Attributes:
        measure: its entry in the catalogue.
        statistic: how the values of one case become one number.
        band: bands that are looked at, all where empty.
        output: pattern of the outputs (or signals) that are looked at.
        hold_s: of `sustained`: how long, in seconds, a value may be held.
    """

    measure: Measure
    statistic: Statistic
    band: tuple[str, ...] = ()
    output: str = "*"
    hold_s: float = HOLD_S

    @classmethod
    def of_rule(cls, rule: Mapping[str, Any]) -> Question:
        """What a rule of verdict.json asked.

        Raises:
            ValueError: it names a measure that does not exist.
        """
        statistic = cast(Statistic, str(rule["statistic"]))
        output = str(rule.get("output", "*"))
        hold_s = float(rule.get("hold_s", HOLD_S))
        return cls(find_measure(str(rule["metric"])), statistic, tuple(rule.get("band") or ()), output, hold_s)

    @property
    def answers_in(self) -> str:
        """The table whose rows answer it; of an event, that in which one looks for it."""
        return self.measure.evidence[0] if self.measure.evidence else self.measure.table

    @property
    def quantity(self) -> Quantity:
        """What its numbers measure."""
        return quantity_of(self.measure, self.statistic)

    @property
    def in_measure_unit(self) -> bool:
        """Whether its numbers are values of the measure, not counts of them."""
        return self.statistic not in COUNTING

    @property
    def extreme(self) -> bool:
        """Whether the number is of the worst rows, so that one place of the case shows it."""
        worst = ("max", "p95", "p99", "sustained") if self.measure.higher_is_worse else ("min", "p1", "p5")
        return self.statistic in worst
