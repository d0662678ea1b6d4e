"""Guesses, and the answers that take their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from trueline._reading import read_toml

__all__ = ["Ask", "Guess", "Settled", "read_answers"]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _list_of(one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(one, value))


FORMS: Mapping[str, Callable[[Any], bool]] = {
    "a text": lambda value: isinstance(value, str),
    "a table": lambda value: isinstance(value, Mapping),
    "a table with a name": lambda value: isinstance(value, Mapping) and isinstance(value.get("name"), str),
    "a list of steps": _list_of(lambda step: isinstance(step, Mapping) and isinstance(step.get("op"), str)),
    "[width, height]": lambda value: _list_of(_whole)(value) and len(value) == 2,
    "a list of sizes": _list_of(_whole),
    "a list of names": _list_of(lambda name: isinstance(name, str)),
}
"""What an answer may be, in the words of a message -> whether it is."""


@dataclass(frozen=True, slots=True)
class Guess:
    """One thing that the card must say.

    Attributes:
        key: the word of the question, as answers files and the card's `unconfirmed` have it.
        value: the best guess; None where nothing suggests one.
        evidence: what suggests it, or why nothing does.
        sure: the file itself says so: not asked, not unconfirmed.
        others: other values that fit, best first.
        words: the words that an answer may be.
        forms: what else it may be, of FORMS; with neither, anything, which is checked where it is used.
    """

    key: str
    value: Any
    evidence: str
    sure: bool = False
    others: Sequence[Any] = ()
    words: Sequence[str] = ()
    forms: Sequence[str] = ()

    def refusal(self, answer: Any) -> str:
        """Why an answer cannot be; empty where it can."""
        if answer in self.words or any(FORMS[form](answer) for form in self.forms):
            return ""
        if not self.words and not self.forms:
            return ""
        return f"{self.key} must be {' or '.join([*self.words, *self.forms])}, not {answer!r}"


Ask = Callable[[Guess], Any]
"""Asks a person: the answer, or the guess's own value where they leave it."""


class Settled:
    """Guesses with the answers that were given to them, in the order of the questions.

    Args:
        answers: key -> value, of a file.
        ask: a person, None where nobody is there.
    """

    def __init__(self, answers: Mapping[str, Any], ask: Ask | None = None) -> None:
        self._answers, self._ask = dict(answers), ask
        self._asked: set[str] = set()
        self.guesses: list[Guess] = []
        self.unconfirmed: list[str] = []

    def settle(self, guess: Guess) -> Any:
        """The answer, else the sure value, else what a person says, else the guess, which stays unconfirmed.

        Raises:
            UsageError: there is neither an answer nor a guess, or the answer is no word of this question.
        """
        self._asked.add(guess.key)
        value, told = guess.value, guess.sure
        if guess.key in self._answers:
            value, told = self._answers[guess.key], True
            if refusal := guess.refusal(value):
                raise UsageError(
                    refusal, where=f"answer {guess.key!r}", remedy="correct it; docs/init.md has the words"
                )
            self.guesses.append(Guess(guess.key, value, "answered", sure=True))
        else:
            if not guess.sure and self._ask is not None:
                value = self._ask(guess)
                told = value != guess.value
            self.guesses.append(Guess(guess.key, value, guess.evidence, told, guess.others))
        if value is None:
            raise UsageError(
                f"nothing says what {guess.key!r} is: {guess.evidence}",
                where="trueline init",
                remedy=f"give it in an answers file: {guess.key} = ... (docs/init.md), with --answers FILE",
            )
        if not told:
            self.unconfirmed.append(guess.key)
        return value

    def answered(self, key: str) -> bool:
        """Whether an answers file has this question."""
        return key in self._answers

    def answers_to(self, group: str) -> list[str]:
        """What follows `GROUP.` in the keys of an answers file."""
        return [key.removeprefix(f"{group}.") for key in self._answers if key.startswith(f"{group}.")]

    def finish(self) -> None:
        """Refuse answers to questions that were not asked.

        Raises:
            UsageError: there are some.
        """
        if unknown := sorted(set(self._answers) - self._asked):
            raise UsageError(
                f"answers to questions that this model does not raise: {', '.join(unknown)}",
                where="--answers",
                remedy=f"the questions are {', '.join(sorted(self._asked))}",
            )


def read_answers(path: Path | None) -> dict[str, Any]:
    """Answers of a TOML file; none without one.

    Raises:
        UsageError: it is missing or not TOML.
    """
    if path is None:
        return {}
    try:
        return read_toml(path)
    except OSError as error:
        raise UsageError(f"cannot read it: {error.strerror}", where=str(path), remedy="give a TOML file") from error
    except ValueError as error:
        raise UsageError(f"not TOML: {error}", where=str(path), remedy="fix the syntax at that line") from error
