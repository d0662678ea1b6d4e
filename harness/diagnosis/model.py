"""What a diagnosis is made of, and the sentence that it says.

`to_json` gives what `trueline diagnose --json` prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from harness.run.json import plain

__all__ = ["Alternative", "Diagnosis", "Named"]

UNTOLD = 0.05  # share left unexplained that is not worth a word


@dataclass(frozen=True, slots=True)
class Alternative:
    """What explains a mismatch as well, as far as the frames can tell: its class and words."""

    name: str
    words: str


@dataclass(frozen=True, slots=True)
class Named:
    """One thing that the car does otherwise.

    Attributes:
        name: its class, a key of `CLASSES`.
        words: with its numbers.
        equals: what explains it as well.
        numbers: what was fitted, by name.
        remedy: what to look at on the car.
    """

    name: str
    words: str
    equals: tuple[Alternative, ...]
    numbers: dict[str, float]
    remedy: str

    @property
    def names(self) -> frozenset[str]:
        """The classes it may be."""
        return frozenset({self.name, *(e.name for e in self.equals)})


@dataclass(frozen=True)
class Diagnosis:
    """How the car's tensor differs from what was expected, and by what.

    Attributes:
        input: of the model; the array's name where tensors were compared alone.
        case: id of the recording, empty for tensors alone.
        expected: whose tensor it was held against, in words.
        status: `same`; `noise`: nothing stands out of it; `named`; `unexplained`; `foreign`: other pictures.
        edits: what the car does otherwise, in the order of the pipeline.
        others: other explanations as good, each in words.
        contradictions: where the recording itself says otherwise than the pipeline.
        explained: share of the squared difference, without noise, that the edits explain.
        before, after, noise: RMS of the difference, of what the edits leave, and of noise; steps of 8 bit.
        frames: numbers of the frames that decided.
        lines: lines of the card's deploy pipeline that say what the car does.
        notes: what the reader should know.
        subject: whose tensor it is, in words.
    """

    input: str
    case: str
    expected: str
    status: str
    edits: tuple[Named, ...] = ()
    others: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    explained: float = 0.0
    before: float = 0.0
    after: float = 0.0
    noise: float = 0.0
    frames: tuple[int, ...] = ()
    lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    subject: str = "the car's tensor"

    @property
    def sentence(self) -> str:
        """All of it in one sentence; what the recording itself contradicts comes first."""
        return "; ".join((*self.contradictions, self._found()))

    def _found(self) -> str:
        if self.status == "same":
            return f"{self.subject} = {self.expected}; RMS difference {_steps(self.before)}"
        if self.status == "noise":
            return f"{self.subject} = {self.expected} but for noise of {_steps(self.before)}: no mismatch identifiable"
        if self.status == "foreign":
            return f"{self.subject} and {self.expected} do not show the same pictures: nothing explained"
        if self.status == "unexplained":
            return f"{self.subject} differs from {self.expected} by {_steps(self.before)}: not explained: 100 % left"
        told = ", then ".join(_with_equals(edit) for edit in self.edits)
        left = f"; not explained: {1 - self.explained:.0%} left".replace("%", " %")
        share = f"explains {100 * min(self.explained, 1):.1f} % of what noise leaves explainable"
        rest = f"left over {_steps(self.after)}" + (left if 1 - self.explained > UNTOLD else "")
        return f"{self.subject} = {self.expected} with {told}; {share}; {rest}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        found: dict[str, Any] = plain({"sentence": self.sentence, **asdict(self)})
        return found

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Diagnosis:
        """What `to_json` gave."""
        own = {f.name: told[f.name] for f in fields(cls)}
        lists = {k: tuple(v) for k, v in own.items() if isinstance(v, list)}
        edits = tuple(Named(**{**e, "equals": tuple(Alternative(**a) for a in e["equals"])}) for e in own["edits"])
        return cls(**{**own, **lists, "edits": edits})


def _with_equals(edit: Named) -> str:
    words = list(dict.fromkeys(e.words for e in edit.equals if e.words != edit.words))
    return f"{edit.words} (or {' or '.join(words[:3])})" if words else edit.words


def _steps(levels: float) -> str:
    return f"{levels:.1f} steps of 8 bit" if levels >= 0.095 or levels == 0 else f"{levels:.2g} steps of 8 bit"
