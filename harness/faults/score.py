"""What came of a self-test: the gate's mutation score, a confusion matrix, and the controls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from harness.faults.trial import Outcome

__all__ = ["SCHEMA", "Report"]

SCHEMA = 1
RIGHT_SHARE = 0.95  # of the caught harmful faults must be blamed on their stage


@dataclass(frozen=True)
class Report:
    """The outcomes of a self-test.

    Attributes:
        card: name of the model.
        policy: name of the policy.
        clean: verdict on the chain as it is, and the required rules it fails: these cannot show a fault.
        faults: outcomes at severity 1.
        controls: outcomes of changes that are no faults.
    """

    card: str
    policy: str
    clean: str
    clean_fails: tuple[str, ...]
    faults: tuple[Outcome, ...]
    controls: tuple[Outcome, ...]

    @property
    def planted(self) -> list[Outcome]:
        """Faults that the model has a place for."""
        return [o for o in self.faults if o.planted]

    def of(self, harm: str) -> list[Outcome]:
        """Planted faults that are `harmful`, `grey` or `harmless`."""
        return [o for o in self.planted if o.harm == harm]

    @property
    def misses(self) -> list[Outcome]:
        """Harmful faults that the gate lets pass, worst first."""
        return sorted((o for o in self.of("harmful") if not o.caught), key=lambda o: -o.effect)

    @property
    def misblamed(self) -> list[Outcome]:
        """Harmful faults that are caught and blamed on another stage."""
        return [o for o in self.of("harmful") if o.caught and not o.right]

    @property
    def flagged(self) -> list[Outcome]:
        """Clean controls that the gate flags."""
        return [o for o in self.controls if o.planted and o.caught and o.harm == "harmless"]

    @property
    def unclean(self) -> list[Outcome]:
        """Controls that move this model's lines by as much as a grey or harmful fault: they are no clean ones here.

        harm.py decides, as of faults: what it calls harmless and the gate flags is a false alarm, and nothing else is.
        """
        return [o for o in self.controls if o.planted and o.harm != "harmless"]

    @property
    def diagnosed(self) -> list[Outcome]:
        """Planted faults of the preprocessing that a class of diagnoses means."""
        return [o for o in self.planted if o.diagnosis_right is not None]

    @property
    def confusion(self) -> dict[str, dict[str, int]]:
        """True stage -> blamed stage (`none alone`, `not caught`) -> harmful faults."""
        table: dict[str, Counter[str]] = {}
        for o in self.of("harmful"):
            table.setdefault(o.stage, Counter())[(o.blamed or "none alone") if o.caught else "not caught"] += 1
        return {stage: dict(row) for stage, row in table.items()}

    @property
    def passes(self) -> bool:
        """All harmful faults are caught, 95 % of them blamed on the right stage, and no control is flagged."""
        caught = [o for o in self.of("harmful") if o.caught]
        right = sum(o.right for o in caught) >= RIGHT_SHARE * len(caught)
        return bool(caught) and not self.misses and right and not self.flagged

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "schema": SCHEMA,
            "card": self.card,
            "policy": self.policy,
            "clean": {"verdict": self.clean, "fails": list(self.clean_fails)},
            "score": {
                harm: {
                    "planted": len(self.of(harm)),
                    "caught": sum(o.caught for o in self.of(harm)),
                    "stage_right": sum(o.right for o in self.of(harm)),
                }
                for harm in ("harmful", "grey", "harmless")
            },
            "diagnosis": {"asked": len(self.diagnosed), "right": sum(bool(o.diagnosis_right) for o in self.diagnosed)},
            "misses": [o.name for o in self.misses],
            "misblamed": [o.name for o in self.misblamed],
            "flagged": [o.name for o in self.flagged],
            "unclean": [o.name for o in self.unclean],
            "confusion": self.confusion,
            "passes": self.passes,
            "faults": [o.to_json() for o in self.faults],
            "controls": [o.to_json() for o in self.controls],
        }
