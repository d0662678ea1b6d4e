"""Numbers that a person accepted: `NAME.accepted.toml`, small enough to be read in a review.

`trueline accept RUN --reason "..."` writes what a policy's rules measured in every case, with what the run was made
with. A later gate holds its own numbers against it (`--baseline FILE`, or `baseline = "FILE"` in the policy), so that a
change for the worse shows even where it breaks no limit, and the file's history says who accepted what, and why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cases.tomlout import dump_toml
from harness.errors import RunError, UsageError
from harness.gate.policy import Policy, Rule
from harness.gate.provenance import provenance_of
from harness.gate.verdict import Status, Verdict, worst_of
from harness.run.units import scale
from trueline._drafts import replacing
from trueline._reading import read_file, toml_of

__all__ = [
    "SUFFIX",
    "Accepted",
    "AcceptedCase",
    "accept",
    "question_key",
    "read_accepted",
    "to_accept",
    "write_accepted",
]

SUFFIX = ".accepted.toml"
MOST_BYTES = 32 << 20


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class AcceptedCase(_Strict):
    """A case whose numbers were accepted: another recording under its name has no twin here."""

    digest: str
    frames: Annotated[int, Field(ge=0)]
    fps: Annotated[float, Field(ge=0)]


class Accepted(_Strict):
    """The file.

    Attributes:
        reason: why these numbers were accepted.
        accepted: date, UTC.
        model: name of the model.
        policy: name of the policy whose rules were asked.
        verdict: what the gate said of the run then, by the rules that compare with no baseline.
        run: digest of the run.
        length_unit: of the run.
        provenance: what it was made with (harness/gate/provenance.py).
        cases: id -> recording.
        numbers: question -> rung -> case -> number, base units.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    reason: Annotated[str, Field(min_length=1)]
    accepted: str
    model: str
    policy: str
    verdict: Status
    run: str
    length_unit: str
    provenance: dict[str, dict[str, str]] = {}
    cases: dict[str, AcceptedCase] = {}
    numbers: dict[str, dict[str, dict[str, float]]] = {}


def question_key(rule: Rule, reference: str | None) -> str:
    """What a rule asks, as text: rules of one question share their numbers, whatever they are called."""
    parts = [rule.statistic, rule.metric, "+".join(rule.band), "" if rule.output == "*" else rule.output]
    asked = " ".join(p for p in parts if p)
    return f"{asked} against {reference}" if reference else asked


def to_accept(policy: Policy) -> Policy:
    """A policy by which a run is judged to accept its numbers: no baseline, and every rule that compares with one."""
    rules = tuple(r.model_copy(update={"where": tuple(w for w in r.where if w != "baseline")}) for r in policy.rules)
    return policy.model_copy(update={"baseline": None, "rules": rules})


def accept(verdict: Verdict, rules: Mapping[str, Rule], reason: str) -> Accepted:
    """The numbers of a verdict, to be written.

    Args:
        verdict: of the run whose numbers are accepted, PASS or not.
        rules: the policy's, by id.
        reason: why.

    Raises:
        UsageError: no reason, or a run without any number.
    """
    if not reason.strip():
        raise UsageError("no reason", where="--reason", remedy="say in a few words why these numbers are right")
    meta = verdict.run["meta"]
    grid = meta["card"]["grid"]
    numbers = _numbers(verdict, rules, str(meta["card"]["length_unit"]), (float(grid["width"]), float(grid["height"])))
    if not numbers:
        raise UsageError("no rule of the policy has a number", where="RUN", remedy="accept a run with judged cases")
    return Accepted(
        reason=reason.strip(),
        accepted=datetime.now(UTC).date().isoformat(),
        model=str(meta["card"].get("name", "")),
        policy=str(verdict.policy["name"]),
        verdict=worst_of(r.status for r in verdict.rules if r.required and r.compare == "limit"),
        run=str(meta.get("digest", "")),
        length_unit=str(meta["card"]["length_unit"]),
        provenance=provenance_of(meta),
        cases={
            str(c["id"]): AcceptedCase(digest=c.get("digest", ""), frames=c.get("frames", 0), fps=c.get("fps") or 0.0)
            for c in meta["cases"]
        },
        numbers=numbers,
    )


def _numbers(
    verdict: Verdict, rules: Mapping[str, Rule], length_unit: str, image_px: tuple[float, float]
) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for outcome in verdict.rules:
        rule = rules[outcome.id]
        size = scale(rule.limit.unit, run_unit=length_unit, image_px=image_px, where=f"rule {rule.id!r}, limit")
        for rung in outcome.rungs:
            values = {c.case: c.value * size for c in rung.cases if math.isfinite(c.value) and c.compared}
            if values:
                found.setdefault(question_key(rule, rung.reference), {})[rung.rung] = values
    return found


def write_accepted(accepted: Accepted, path: Path) -> None:
    """Write the file; a reader sees the old one or the whole new one.

    Raises:
        RunError: it cannot be written there.
    """
    head = "# Written by `trueline accept`. The gate compares with these numbers; review a change of them as code.\n"
    try:
        with replacing(path) as draft:
            draft.write_text(head + dump_toml(accepted.model_dump(mode="json", by_alias=True)), encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"cannot write it: {error.strerror}", where=str(path), remedy="choose a folder that can be written"
        ) from error


def read_accepted(path: Path) -> Accepted:
    """Read the file.

    Raises:
        RunError: missing, not TOML, or not what `trueline accept` writes.
    """
    remedy = 'write it by `trueline accept RUN --reason "..."`'
    try:
        return Accepted.model_validate(toml_of(read_file(path, MOST_BYTES)))
    except OSError as error:
        raise RunError(f"cannot read it: {error.strerror}", where=str(path), remedy=remedy) from error
    except ValidationError as error:  # a kind of ValueError
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise RunError(f"{place}: {first['msg']}", where=str(path), remedy=remedy) from error
    except ValueError as error:
        raise RunError(f"not TOML: {error}", where=str(path), remedy=remedy) from error
