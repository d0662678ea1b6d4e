"""What `trueline model layers` and `plan` look at: a model card, or a run, whose card and recordings are then known.

What is found of a run is put into its folder and into its report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ReportError, UsageError

if TYPE_CHECKING:
    from harness.ladder import Explanation
    from harness.model.card import Card
    from harness.run.folder import Run

__all__ = ["Subject", "subject_of"]

USUAL = "emulated-fp16"


@dataclass(frozen=True)
class Subject:
    """A model and recordings of it.

    Attributes:
        card: of the model.
        cases: case folders, or folders of them.
        run: the run that they are of, with its explanation; None where a card was named.
    """

    card: Card
    cases: Sequence[Path]
    run: Run | None = None
    explanation: Explanation | None = None

    @property
    def engine(self) -> str:
        """The emulated engine of the precision to which the run's worst finding of that kind is blamed."""
        from engines.table import TABLE

        findings = self.explanation.findings if self.explanation is not None else ()
        factors = [f.factor for f in findings if f.factor and f.factor.startswith("precision:")]
        named = [f"emulated-{factor.removeprefix('precision:')}" for factor in factors]
        return next((name for name in named if name.partition(":")[0] in TABLE), USUAL)

    @property
    def about(self) -> dict[str, str]:
        """What binds a result to the run."""
        return {} if self.run is None else {"run": str(self.run.meta.get("digest"))}

    def keep(self, name: str, told: Any) -> Path | None:
        """Put a result into the run folder, and write the run's report anew; its path, None where there is no run.

        Raises:
            ReportError: the folder cannot be written.
        """
        from harness.report import write_report
        from harness.run.json import write_json

        if self.run is None:
            return None
        path = self.run.path / name
        try:
            write_json(path, told)
        except OSError as error:
            raise ReportError(
                f"cannot write it: {error.strerror}", where=str(path), remedy="give the card and --cases, and --out"
            ) from error
        return write_report(self.run, verdict=self.run.verdict(), explanation=self.explanation, cases=self.cases)


def subject_of(place: Path, cases: Sequence[Path], *, needs_cases: bool = True) -> Subject:
    """What a command line names.

    Args:
        place: a model card, or a run folder.
        cases: case folders, or folders of them; of a run where they lie now, if not where they were.
        needs_cases: whether a card alone is not enough.

    Raises:
        UsageError: a card without cases where they are needed.
        RunError: the card of the run has changed, or a case is not where it was.
    """
    from harness.ladder import explain
    from harness.model.card import load_card
    from harness.run.card import card_of_run
    from harness.run.folder import Run
    from harness.run.recordings import Recordings

    if not place.is_dir():
        if needs_cases and not cases:
            raise UsageError("no cases", where="--cases", remedy="give case folders with the card, or a run folder")
        return Subject(load_card(place), cases)
    run = Run.open(place)
    recordings = Recordings(run.meta, run.path, cases)
    roots = [recordings.open(str(case["id"])).root for case in run.meta["cases"]]
    return Subject(card_of_run(run.meta), roots, run, explain(run, run.verdict()))
