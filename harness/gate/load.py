"""Reading a policy file, and what it inherits by `extends = "base.trueline.toml"` (or a shipped one, `"release"`).

An inherited limit is a ceiling: a policy that extends another may tighten its rules and add its own, never loosen or
drop one. What a rule looks at (metric, rungs, bands, cases, ...) stays as the base has it; a rule of another id is the
way to look at something else.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from harness.errors import PolicyError
from harness.gate.policy import Policy, Profile, Rule, Source
from harness.run.units import tighter_or_equal
from trueline._reading import MOST_TOML_BYTES, read_file, toml_of

__all__ = ["SHIPPED", "load_policy"]

Raw = dict[str, Any]
Model = TypeVar("Model", Policy, Profile, Rule)
_SHIPPED_IN = Path(__file__).parent / "policies"
SHIPPED = tuple(sorted(p.name.removesuffix(".trueline.toml") for p in _SHIPPED_IN.glob("*.trueline.toml")))
"""Names of the policies that come with Trueline: `--policy release`, `extends = "release"`."""
_REMEDY = "docs/gate.md lists every key"

# key of a rule -> whether the override (second) allows nothing that the base (first) forbids
_TIGHTENS: dict[str, Callable[[Rule, Rule], bool]] = {
    "limit": lambda base, new: tighter_or_equal(
        new.limit, base.limit, higher_is_worse=base.higher_is_worse or base.compare == "baseline", where="limit"
    ),
    "required": lambda base, new: new.required or not base.required,
    "allowed_share": lambda base, new: (new.allowed_share or 0) <= (base.allowed_share or 0),
    "min_cases": lambda base, new: new.min_cases >= base.min_cases,
    "confidence": lambda base, new: new.confidence >= base.confidence,
    "where": lambda base, new: set(new.where) <= set(base.where),
    "note": lambda base, new: True,
}


def load_policy(path: Path) -> Policy:
    """Read and check a policy with everything it extends; a bare name is one of SHIPPED.

    Raises:
        PolicyError: missing, not TOML, unknown keys, rules that make no sense, or overrides that loosen.
        UnitMismatch: a limit that measures something else than its metric.
    """
    path = _found(Path(path), Path())
    raw, sources = _with_bases(path, ())
    return _checked(Policy, raw | {"sources": sources}, str(path))


def _found(named: Path, folder: Path) -> Path:
    """The file that a path names; a bare name that no file has is that of a policy that Trueline ships."""
    path = (folder / named).resolve()
    if str(named) in SHIPPED and not path.exists():
        return _SHIPPED_IN / f"{named}.trueline.toml"
    return path


def _with_bases(path: Path, above: tuple[Path, ...]) -> tuple[Raw, tuple[Source, ...]]:
    """The file's keys merged over those of the files it extends."""
    if path in above:
        raise PolicyError("it extends itself", where=" -> ".join(map(str, (*above, path))), remedy="break the circle")
    raw, source = _read(path)
    if "extends" not in raw:
        return raw, (source,)
    named = raw.pop("extends")
    if not isinstance(named, str):
        raise PolicyError(f"extends: must be a path (got {named!r})", where=str(path), remedy=_REMEDY)
    base, sources = _with_bases(_found(Path(named), path.parent), (*above, path))
    return _merged(base, raw, path), (source, *sources)


def _read(path: Path) -> tuple[Raw, Source]:
    try:
        data = read_file(path, MOST_TOML_BYTES)
        raw = toml_of(data)
    except OSError as error:
        raise PolicyError(
            f"no policy: {error.strerror}",
            where=str(path),
            remedy=f"give the path of a NAME.trueline.toml, or one of {', '.join(SHIPPED)}",
        ) from error
    except ValueError as error:
        raise PolicyError(f"not TOML: {error}", where=str(path), remedy="fix the syntax at that line") from error
    if "sources" in raw:
        raise PolicyError("sources: Extra inputs are not permitted", where=str(path), remedy=_REMEDY)
    _make_absolute(raw, path.parent)
    return raw, Source(path=path, sha256=hashlib.sha256(data).hexdigest())


def _make_absolute(raw: Raw, root: Path) -> None:
    """Paths are relative to the file that states them."""
    for key in ("card", "baseline"):
        if isinstance(raw.get(key), str):
            raw[key] = root / raw[key]
    cases = [raw["cases"]] if isinstance(raw.get("cases"), str) else raw.get("cases")
    if isinstance(cases, list) and all(isinstance(c, str) for c in cases):
        raw["cases"] = [c if Path(c).is_absolute() else str(Path(glob.escape(str(root))) / c) for c in cases]


def _merged(base: Raw, child: Raw, path: Path) -> Raw:
    """The base with the child's additions and overrides, all of which must tighten."""
    merged = base | {k: v for k, v in child.items() if k not in ("rules", "profile")}
    where = str(path)
    for key in ("noise_factor", "min_frames_share"):
        old, new = base.get(key, Policy.model_fields[key].default), child.get(key)
        if isinstance(old, int | float) and isinstance(new, int | float) and new < old:
            raise _loosened(f"{key} = {new!r}", f"{old!r}", where)
    if "baseline" in base and child.get("baseline", base["baseline"]) != base["baseline"]:
        raise _loosened(f"baseline = {str(child['baseline'])!r}", f"{str(base['baseline'])!r}", where)
    if "reference" in base and child.get("reference", base["reference"]) != base["reference"]:
        raise _loosened(f"reference = {child['reference']!r}", f"{base['reference']!r}", where)
    if isinstance(base.get("teams"), dict) and isinstance(child.get("teams"), dict):
        merged["teams"] = base["teams"] | child["teams"]
    merged["profile"] = _merged_profiles(base.get("profile", {}), child.get("profile", {}), where)
    merged["rules"] = _merged_rules(base.get("rules", []), child.get("rules", []), where)
    return merged


def _merged_profiles(base: Any, child: Any, where: str) -> Raw:
    if not isinstance(base, Mapping) or not isinstance(child, Mapping):
        raise PolicyError("profile: must be tables [profile.NAME]", where=where, remedy=_REMEDY)
    for name in base.keys() & child.keys():
        old, new = (_checked(Profile, p[name], f"{where}, profile.{name}") for p in (base, child))
        dropped = sorted(set(old.rungs) - set(new.rungs))
        if dropped:
            raise _loosened(f"profile.{name} without {dropped[0]}", f"{list(old.rungs)}", where)
    return {**base, **child}


def _merged_rules(base: Any, child: Any, where: str) -> list[Any]:
    if not all(isinstance(rules, list) and all(isinstance(r, Mapping) for r in rules) for rules in (base, child)):
        raise PolicyError("rules: must be tables [[rules]]", where=where, remedy=_REMEDY)
    inherited = {str(r.get("id")): dict(r) for r in base}
    added = []
    for rule in child:
        name = str(rule.get("id"))
        if name in inherited:
            inherited[name] = _overridden(inherited[name], dict(rule), f"{where}, rule {name!r}")
        else:
            added.append(dict(rule))
    return [*inherited.values(), *added]


def _overridden(base: Raw, override: Raw, where: str) -> Raw:
    """One rule of the base with the override's keys."""
    changed = {k: v for k, v in override.items() if k != "id" and base.get(k) != v}
    fixed = sorted(changed.keys() & Rule.model_fields.keys() - _TIGHTENS.keys())
    if fixed:
        raise PolicyError(
            f"an override cannot change {fixed[0]} (got {changed[fixed[0]]!r})",
            where=where,
            remedy=f"an override may tighten {', '.join(_TIGHTENS)}; look at something else by a rule of another id",
        )
    old, new = _checked(Rule, base, where), _checked(Rule, base | changed, where)
    for key in _TIGHTENS.keys() & changed.keys():
        if not _TIGHTENS[key](old, new):
            raise _loosened(f"{key} = {changed[key]!r}", f"{base.get(key, getattr(old, key))!r}", where)
    return base | changed


def _loosened(new: str, old: str, where: str) -> PolicyError:
    return PolicyError(
        f"{new} is looser than the {old} it inherits",
        where=where,
        remedy="overrides may tighten a ceiling, never loosen",
    )


def _checked(kind: type[Model], raw: Any, where: str) -> Model:
    """Validate, with every problem in one line."""
    try:
        return kind.model_validate(raw)
    except PolicyError as error:
        raise error.within(where) from error.__cause__
    except ValidationError as error:
        raise PolicyError(_problems(error, raw), where=where, remedy=_REMEDY) from error


def _problems(error: ValidationError, raw: Any) -> str:
    problems = []
    for item in error.errors():
        shown = "" if item["type"] in ("extra_forbidden", "missing", "value_error") else f" (got {item['input']!r})"
        message = "unknown key" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
        problems.append(f"{_key(item['loc'], raw)}: {message}{shown}")
    return "; ".join(problems)


def _key(parts: tuple[int | str, ...], raw: Any) -> str:
    """Where a problem is: rules by their id, not by their number."""
    names = [str(p) for p in parts]
    if len(parts) > 1 and parts[0] == "rules" and isinstance(parts[1], int):
        rule = raw["rules"][parts[1]]
        if isinstance(rule, Mapping) and "id" in rule:
            names[:2] = [f"rule {rule['id']!r}"]
    return ".".join(names) or "policy"
