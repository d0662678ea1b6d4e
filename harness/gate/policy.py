"""Policies: `NAME.trueline.toml` says what a candidate must pass (docs/gate.md lists every key).

This module is what a policy may say; `harness.gate.load` reads the file, follows `extends` and holds overrides to
their ceilings.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from harness.run.catalogue import Measure, Statistic, find_measure
from harness.run.question import HOLD_S, Question
from harness.run.rungs import STAGES, can_run
from harness.run.units import Limit, check_unit, parse_limit

__all__ = ["Policy", "Profile", "Rule", "Source", "covers"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]
Band = Literal["near", "mid", "far"]
Where = Literal["truth", "no-truth", "motion", "baseline", "state", "tags"]

_POPULATION_KEYS = {"min_cases", "confidence", "allowed_share"}
_GUARDS = ("missing", "extra", "coverage")


def _many(value: object) -> object:
    """One string stands for a list of one."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _known_stage(name: str) -> str:
    if name not in STAGES:
        raise ValueError(f"must be in {list(STAGES)} (got {name!r})")
    return name


Stage = Annotated[str, AfterValidator(_known_stage)]
Strings = Annotated[tuple[str, ...], BeforeValidator(_many)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Profile(_Strict):
    """What one kind of machine is expected to run: every engine under every pipeline that it can run under."""

    engines: Annotated[Strings, Field(min_length=1)]
    preprocess: Strings = ("train", "deploy")

    @model_validator(mode="after")
    def _expects_something(self) -> Self:
        if not self.rungs:
            engines, pipelines = ", ".join(self.engines), ", ".join(self.preprocess)
            raise ValueError(f"expects nothing that can run: {engines} under {pipelines}")
        return self

    @property
    def rungs(self) -> tuple[str, ...]:
        """Names of the expected rungs."""
        return tuple(f"{p}/{e}" for p in self.preprocess for e in self.engines if can_run(p, e))


class Rule(_Strict):
    """One rule; see docs/gate.md.

    Attributes:
        id: name of the rule, unique in the policy.
        metric: a metric column or `event.KIND`.
        rung: pattern of the rungs it judges.
        statistic: how the values of one case become one number.
        limit: the number's limit; with `compare = "baseline"` the worsening that is allowed.
        band: bands it looks at, all where empty.
        output: pattern of the outputs it looks at (tensor metrics; of the signals, for the growth of a state).
        reference: rung to compare with: a name, `parent`, or None for the policy's.
        cases: patterns of case ids it judges.
        tags: tags a case must all have to be judged.
        where: what a run must have for the rule to be asked: ground truth (only cases with it are judged), cases
        without it, a way of the car that tells what lines said, a baseline, a state that is fed back, a case with
        the rule's tags. A rule that a run gives no reason to ask is left out and named.
    scope: `each` case by itself, or the `population` the cases are drawn from.
        required: whether the verdict depends on it; an advisory rule only reports.
        compare: `limit`, or `baseline` for candidate minus baseline of every case.
        min_cases: population: fewer drives are INCONCLUSIVE.
        confidence: population: of each one-sided bound.
        allowed_share: population: share of drives that may violate the limit.
        hold_s: of the statistic `sustained`: seconds that a line may be above the limit on end.
        note: why the rule exists; printed when it fails.
    """

    id: Name
    metric: str
    rung: str
    statistic: Statistic
    limit: Annotated[Limit, BeforeValidator(parse_limit)]
    band: Annotated[tuple[Band, ...], BeforeValidator(_many)] = ()
    output: str = "*"
    reference: str | None = None
    cases: Strings = ("*",)
    tags: Strings = ()
    where: Annotated[tuple[Where, ...], BeforeValidator(_many)] = ()
    scope: Literal["each", "population"] = "each"
    required: bool = True
    compare: Literal["limit", "baseline"] = "limit"
    min_cases: Annotated[int, Field(ge=2)] = 8
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    allowed_share: Annotated[float | None, Field(gt=0, lt=1)] = None
    hold_s: Annotated[float, Field(ge=0)] = HOLD_S
    note: str = ""

    @property
    def spec(self) -> Measure:
        """The catalogue's entry of the metric."""
        return find_measure(self.metric)

    @property
    def question(self) -> Question:
        """What it asks of every case and rung."""
        return Question(self.spec, self.statistic, self.band, self.output, self.hold_s)

    @property
    def higher_is_worse(self) -> bool:
        """Whether values above the limit violate it."""
        return self.spec.higher_is_worse

    def judges_case(self, case: str, tags: tuple[str, ...]) -> bool:
        """Whether it is about a case of that id and those tags."""
        return set(self.tags) <= set(tags) and any(fnmatchcase(case, p) for p in self.cases)

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        spec = find_measure(self.metric)
        if self.statistic not in spec.statistics:
            raise ValueError(f"statistic of {self.metric} must be in {list(spec.statistics)} (got {self.statistic!r})")
        if "hold_s" in self.model_fields_set and self.statistic != "sustained":
            raise ValueError(f"hold_s belongs to the statistic 'sustained' (got {self.statistic!r})")
        quantity = self.question.quantity
        check_unit(self.limit, quantity, what=f"{self.statistic} of {self.metric}", where=f"rule {self.id!r}, limit")
        wrong_way = ">=" if spec.higher_is_worse or self.compare == "baseline" else "<="
        if self.limit.sign == wrong_way:
            raise ValueError(f"limit of {self.metric} cannot be {wrong_way}: {_worse(self)} is worse")
        if self.band and not spec.has_band:
            raise ValueError(f"{self.metric} has no bands")
        if self.output != "*" and not spec.output_column:
            raise ValueError(f"{self.metric} has no outputs")
        if {"truth", "no-truth"} <= set(self.where):
            raise ValueError("where: no case has ground truth and none (got 'truth' and 'no-truth')")
        if self.reference is not None and not spec.has_reference:
            raise ValueError(f"{self.metric} is not compared with a reference")
        return self._scope_fits(spec)

    def _scope_fits(self, spec: Measure) -> Self:
        if self.compare == "baseline" and not spec.comparable:
            raise ValueError(f"{self.metric} depends on the machine and cannot be compared with a baseline")
        if self.scope == "each":
            if self.statistic == "episodes_per_h":
                raise ValueError(
                    "episodes_per_h belongs to scope 'population': one short clip bounds no rate; use seconds"
                )
            stray = sorted(_POPULATION_KEYS & self.model_fields_set)
            if stray:
                raise ValueError(f"{stray[0]} has no meaning with scope 'each', write scope = \"population\"")
            return self
        if self.statistic in ("max", "min"):
            raise ValueError(f"{self.statistic!r} belongs to scope 'each': an extreme grows with the number of frames")
        if self.statistic == "episodes_per_h":
            return self._rate_fits()
        if self.allowed_share is None:
            what = "be worse by more than the limit" if self.compare == "baseline" else "violate the limit"
            raise ValueError(f"scope 'population' needs allowed_share, the share of drives that may {what}")
        return self

    def _rate_fits(self) -> Self:
        if self.compare == "baseline":
            raise ValueError("episodes_per_h is held against a limit, not against a baseline")
        if self.allowed_share is not None:
            raise ValueError("allowed_share has no meaning with episodes_per_h: the limit is on the rate of all drives")
        return self


class Source(_Strict):
    """A file a policy was made of, and the hash of what was read."""

    path: Path
    sha256: str


class Policy(_Strict):
    """A checked policy. Paths are absolute; `sources` are the file itself and those it extends, nearest first.

    Attributes:
        reference: rung to compare with, None for the run's own.
        card: model card to replay under pytest, None where the policy only judges finished runs.
        cases: glob patterns of case folders to replay under pytest, absolute.
        baseline: a run folder or accepted file to compare with, unless a command names another; absolute.
        profile: engines expected, by profile name.
        rules: at least one.
        noise_factor: a limit must be this many noise floors wide.
        min_frames_share: share of a case's frames that must have been compared.
        teams: who owns a stage, by its name; told where a finding is blamed on it, decides nothing.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    reference: Annotated[str | None, Field(pattern=r"^(train|deploy)/[\w.:@-]+$")] = None
    card: Path | None = None
    cases: Strings = ()
    baseline: Path | None = None
    profile: dict[Name, Profile] = {}
    rules: Annotated[tuple[Rule, ...], BeforeValidator(_many), Field(min_length=1)]
    noise_factor: Annotated[float, Field(gt=0)] = 3.0
    min_frames_share: Annotated[float, Field(gt=0, le=1)] = 0.8
    teams: dict[Stage, str] = {}
    sources: tuple[Source, ...] = ()

    @property
    def path(self) -> Path:
        """The policy's own file."""
        return self.sources[0].path

    @property
    def name(self) -> str:
        """File name without `.trueline.toml`."""
        return self.path.name.removesuffix(".toml").removesuffix(".trueline")

    @model_validator(mode="after")
    def _rules_fit(self) -> Self:
        ids = [r.id for r in self.rules]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"two rules have the id {twice[0]!r}")
        for rule in self.rules:
            self._reachable(rule)
            if rule.spec.name in ("bend", "bend_rms", "event.bend"):
                self._guarded(rule)
        return self

    def _reachable(self, rule: Rule) -> None:
        expected = [rung for p in self.profile.values() for rung in p.rungs]
        if expected and not any(fnmatchcase(rung, rule.rung) for rung in expected):
            raise ValueError(f"rule {rule.id!r}: rung {rule.rung!r} matches none that a profile expects {expected}")

    def _guarded(self, bend: Rule) -> None:
        """A line that is not drawn cannot bend: bend rules count only beside rules on what was not compared."""
        lacking = [m for m in _GUARDS if not any(g.spec.name == m and covers(g, bend) for g in self.rules)]
        if lacking:
            raise ValueError(
                f"rule {bend.id!r} limits bend, so {', '.join(lacking)} must be limited too (same rungs, bands and "
                f"cases{', required' if bend.required else ''}): a line that is not there cannot bend"
            )


def covers(guard: Rule, rule: Rule) -> bool:
    """Whether `guard` looks wherever `rule` looks: rungs, bands, cases, tags, reference, and as a required rule."""
    return (
        (guard.required or not rule.required)
        and _pattern_covers(guard.rung, rule.rung)
        and (not guard.spec.has_band or not guard.band or (bool(rule.band) and set(rule.band) <= set(guard.band)))
        and all(any(_pattern_covers(g, p) for g in guard.cases) for p in rule.cases)
        and set(guard.tags) <= set(rule.tags)
        and set(guard.where) <= set(rule.where)
        and guard.reference == rule.reference
    )


def _pattern_covers(wide: str, narrow: str) -> bool:
    """Whether `wide` matches all that `narrow` matches; false where only `*` cannot tell."""
    return wide == narrow or (not set("?[") & set(wide) and fnmatchcase(narrow, wide))


def _worse(rule: Rule) -> str:
    if rule.compare == "baseline":
        return "a larger worsening"
    return "more" if rule.higher_is_worse else "less"
