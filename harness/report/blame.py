"""An explanation as the report shows it: who is to blame, and how each anomaly came about, step by step.

Reads the words of `Explanation.to_json` (harness.ladder.model); a number that is null was not measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness.report.facts import RunFacts
from harness.report.glossary import definition_of, label_of, quantity_of_unit, with_unit
from harness.report.palette import RungStyle
from harness.report.plain import as_mapping, finite

__all__ = ["MAX_ANOMALIES", "blame_view"]

MAX_ANOMALIES = 40


def blame_view(explanation: Any, facts: RunFacts, styles: Mapping[str, RungStyle]) -> dict[str, Any] | None:
    """The view of an explanation; None where there is none.

    Returns:
        `summary` (one sentence), `steps` (rung -> count of anomalies that begin there, for every rung on the way to
        one), `suspects`, `anomalies` (worst first, at most MAX_ANOMALIES), `left_out` (how many more), `notes`.

    Raises:
        ReportError: not an explanation.
    """
    raw = as_mapping(explanation, "explanation")
    if raw is None:
        return None
    anomalies = list(raw.get("anomalies") or ())
    suspects = [_suspect(s) for s in raw.get("suspects") or ()]
    passed = {str(step["rung"]) for a in anomalies for step in a.get("steps") or ()}
    counts: Counter[str] = Counter()
    for suspect in suspects:
        counts[suspect["rung"]] += suspect["count"]
    return {
        "summary": _summary(suspects, len(anomalies), str(raw.get("reference", facts.reference))),
        "steps": dict.fromkeys(passed, 0) | dict(counts),
        "suspects": suspects,
        "anomalies": [_anomaly(a, facts, styles) for a in anomalies[:MAX_ANOMALIES]],
        "left_out": max(0, len(anomalies) - MAX_ANOMALIES),
        "notes": [str(n) for n in raw.get("notes") or ()],
    }


def _summary(suspects: Sequence[Mapping[str, Any]], anomalies: int, reference: str) -> str:
    if not anomalies:
        return f"No anomaly against {reference} on the way to the car."
    if not suspects:
        return f"{anomalies} anomal{'y' if anomalies == 1 else 'ies'}; no step could be named."
    first = suspects[0]
    how_many = "The only anomaly begins" if anomalies == 1 else f"{first['count']} of {anomalies} anomalies begin"
    return f"{how_many} at {first['rung']}: {first['blamed']}."


def _suspect(raw: Mapping[str, Any]) -> dict[str, Any]:
    factors = " + ".join(raw.get("factors") or ()) or "no named factor"
    worst = finite(raw.get("worst"))
    return {
        "rung": str(raw["rung"]),
        "stage": str(raw.get("stage") or "none alone"),
        "blamed": str(raw.get("factor") or factors),
        "count": int(raw.get("count") or 0),
        "share": finite(raw.get("share")) or 0.0,
        "kinds": ", ".join(f"{n} {label_of(kind)}" for kind, n in (raw.get("kinds") or {}).items()),
        "cases": list(raw.get("cases") or ()),
        "worst": f"{worst:.1f}×" if worst is not None else "∞",
    }


def _anomaly(raw: Mapping[str, Any], facts: RunFacts, styles: Mapping[str, RungStyle]) -> dict[str, Any]:
    quantity = quantity_of_unit(str(raw.get("unit") or ""))
    kind = str(raw.get("kind", ""))

    def size(value: Any) -> str:
        number = finite(value)
        return "not measured" if number is None else with_unit(number, quantity, facts.unit)

    steps = [_step(s, styles, size) for s in raw.get("steps") or ()]
    place = [raw.get("band"), None if raw.get("track") is None else f"line {raw['track']}"]
    return {
        "case": str(raw.get("case", "")),
        "frame": raw.get("frame_start"),
        "label": label_of(kind),
        "definition": definition_of(kind.partition(" ")[0]),
        "place": ", ".join(str(p) for p in place if p),
        "rung": str(raw.get("rung", "")),
        "value": size(raw.get("value")),
        "threshold": size(raw.get("threshold")),
        "first": str(raw.get("first") or "–"),
        "blamed": str(raw.get("factor") or "nothing alone"),
        "note": str(raw.get("note") or ""),
        "steps": steps,
        "widths": _widths([s["share"] for s in steps]),
        "alone": [f"{a['factor']} {size(a.get('value'))}" for a in raw.get("alone") or ()],
        "interaction": size(raw["interaction"]) if finite(raw.get("interaction")) is not None else "",
    }


def _step(raw: Mapping[str, Any], styles: Mapping[str, RungStyle], size: Any) -> dict[str, Any]:
    share = finite(raw.get("share"))
    rung = str(raw["rung"])
    style = styles.get(rung)
    return {
        "rung": rung,
        "factors": " + ".join(raw.get("factors") or ()) or "no named factor",
        "colour": style.colour if style else "ink",
        "share": share,
        "text": "not measured" if share is None else f"{share * 100:.0f} %".replace("-", "−"),
        "added": size(raw.get("added")),
        "value": size(raw.get("value")),
    }


def _widths(shares: Sequence[float | None]) -> list[float]:
    """Percent of the bar each step gets: only growth is drawn, and more than the whole is squeezed into it."""
    grown = [max(0.0, s or 0.0) for s in shares]
    whole = max(1.0, sum(grown))
    return [round(100 * g / whole, 1) for g in grown]
