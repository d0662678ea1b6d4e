"""A self-test for the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.faults.score import Report
from harness.faults.trial import Outcome
from harness.terminal import show, table

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["render"]

HARMS = ("harmful", "grey", "harmless")


def render(report: Report, console: Console | None = None) -> None:
    """Print every fault, the confusion matrix, what was missed, and the controls."""
    rows = [_row(o) for o in sorted(report.planted, key=lambda o: (HARMS.index(o.harm), o.stage, -o.effect))]
    columns = ("fault", "true stage", "harm", "effect", "caught by", "blamed")
    show(table(columns, rows, f"Faults planted into {report.card}, judged by {report.policy}"), console=console)
    if report.confusion:
        show(_confusion(report), console=console)
    rows = [(o.name, f"{o.effect:.3g} {o.unit}", _verdict(o)) for o in report.controls if o.planted]
    show(table(("control", "effect", "verdict"), rows, "Changes that are no faults"), console=console)
    show(*_summary(report), console=console)


def _row(o: Outcome) -> tuple[str, ...]:
    caught = f"{len(o.rules)}: {', '.join(o.rules[:3])}" if o.caught else _survived(o)
    blamed = (o.blamed or "none alone") + ("" if o.right else " (wrong)") if o.caught else ""
    return (o.name, o.stage, o.harm, f"{o.effect:.3g} {o.unit}", caught, blamed)


def _verdict(o: Outcome) -> str:
    unclean = "" if o.harm == "harmless" else f"; {o.harm}: no clean control of this model"
    return ("flagged: " + ", ".join(o.rules) if o.caught else "clean") + unclean


def _survived(o: Outcome) -> str:
    if o.harm == "harmless":
        return "survived"
    return f"survived; caught from {o.caught_from:.3g} times it" if o.caught_from else "survived at every severity"


def _confusion(report: Report) -> object:
    blamed = list(dict.fromkeys(b for row in report.confusion.values() for b in row))
    rows = [(stage, *(str(row.get(b, 0)) for b in blamed)) for stage, row in report.confusion.items()]
    return table(("true stage", *blamed), rows, "Harmful faults: stage and blame")


def _summary(report: Report) -> Iterable[str]:
    for harm in HARMS:
        found = report.of(harm)
        caught = sum(o.caught for o in found)
        right = sum(o.right for o in found)
        yield f"{harm}: {caught} of {len(found)} caught, {right} of these blamed on the right stage"
    asked = report.diagnosed
    wrong = [o.name for o in asked if not o.diagnosis_right]
    if asked:
        yield f"diagnosis: {len(asked) - len(wrong)} of {len(asked)} named rightly" + (
            f", not {', '.join(wrong)}" * bool(wrong)
        )
    if report.clean_fails:
        yield f"the clean chain is {report.clean} ({', '.join(report.clean_fails)}): where it fails no fault shows"
    refused = [o for o in (*report.faults, *report.controls) if not o.planted]
    yield from (f"not planted: {o.name}: {o.refused}" for o in refused)
    flagged = report.flagged
    planted = sum(o.planted for o in report.controls) - len(report.unclean)
    yield f"controls: {len(flagged)} of {planted} flagged" + (
        f": {', '.join(o.name for o in flagged)}" if flagged else ""
    )
    if report.unclean:
        names = ", ".join(o.name for o in report.unclean)
        yield f"no clean controls of this model, because they move its lines: {names}"
    yield "PASS" if report.passes else "FAIL: " + _why(report)


def _why(report: Report) -> str:
    parts = [
        f"{len(report.misses)} harmful faults not caught ({', '.join(o.name for o in report.misses)})"
        * bool(report.misses),
        f"{len(report.misblamed)} blamed wrongly ({', '.join(o.name for o in report.misblamed)})"
        * bool(report.misblamed),
        f"{len(report.flagged)} controls flagged" * bool(report.flagged),
    ]
    return "; ".join(p for p in parts if p) or "no harmful fault could be planted"
