"""The JSON schema of verdict.json, for who reads it with other tools: docs/verdict.schema.json holds it.

python -m harness.summary.schema > docs/verdict.schema.json
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.gate.verdict import Status
from harness.terminal import show

__all__ = ["VerdictFile", "verdict_schema"]

Number = float | Literal["inf", "-inf"] | None
"""null where there is no number."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WorstRow(_Strict):
    """The row with the worst value of a case: where to look."""

    value: Number
    unit: str
    frame: int | None = None
    frame_end: int | None = None
    track: int | None = None
    band: str | None = None
    station: float | None = None
    output: str | None = None
    signal: str | None = None
    probe: str | None = None


class CaseFile(_Strict):
    """One case under one rule and rung; `value` and `baseline` are in the rule's unit."""

    case: str
    verdict: Status
    value: Number
    compared: int = Field(description="values that the number was made of")
    reason: str
    worst: WorstRow | None
    baseline: Number = Field(description="the baseline's number, where the rule compares with one")


class RungFile(_Strict):
    """One rule on one rung."""

    rung: str
    reference: str | None = Field(description="the rung that it was compared with")
    verdict: Status
    reason: str
    statistics: dict[str, Number] = Field(description="numbers that a population rule decided by")
    cases: list[CaseFile]


class RuleFile(_Strict):
    """One rule on every rung it looks at; numbers are in `unit`, that of its limit."""

    id: str
    metric: str
    statistic: str
    pattern: str
    band: list[str]
    output: str
    scope: str
    compare: Literal["limit", "baseline"]
    required: bool
    higher_is_worse: bool
    limit: str
    limit_value: Number
    unit: str
    note: str
    reason: str
    hold_s: float = Field(description="seconds for which a limit must be passed, where the statistic asks for a time")
    verdict: Status
    rungs: list[RungFile]


class LeftOutFile(_Strict):
    """A rule that the chosen profile does not expect to be judged."""

    id: str
    reason: str
    required: bool


class UnjudgedFile(_Strict):
    """A rung that went wrong where no rule looked."""

    rung: str
    verdict: Status
    reason: str


class VerdictFile(_Strict):
    """verdict.json."""

    schema_: Literal[1] = Field(alias="schema")
    verdict: Status
    exit_code: Literal[0, 1, 3]
    blind: str = Field(description="why it cannot tell a network that draws the same lines on every road; else empty")
    trueline: str
    policy: dict[str, Any] = Field(description="as resolved: name, path, profile, rules, hashes of its files")
    rules: list[RuleFile]
    left_out: list[LeftOutFile]
    unjudged: list[UnjudgedFile]
    remarks: list[str]
    floors: dict[str, dict[str, Number]]
    run: dict[str, Any] = Field(description="path and run.json")
    baseline: dict[str, Any] | None
    sha256: str | None = Field(default=None, description="of the rest, where it was written to a file")


def verdict_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    schema = VerdictFile.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    show(json.dumps(verdict_schema(), indent=1, sort_keys=True))
