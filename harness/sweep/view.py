"""A sweep in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.run.numbers import number, with_unit
from harness.sweep.sweep import Sweep
from harness.terminal import show, table
from trueline._text import counted

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["remarks", "render"]


def render(found: Sweep, console: Console | None = None) -> None:
    """Print it: what a reader must know first, then one row for each perturbation."""
    show(*remarks(found), console=console)
    shown = [curve for curve in found.meta["curves"] if not curve["why"]]
    if not shown:
        return
    severities = [point["severity"] for point in shown[0]["points"]]
    columns = ["perturbation", "up to", *(f"deviation at {s}" for s in severities), "offset p99", "bend p99"]
    columns += ["lines lost", "follows", "per 8-bit step"]
    against = (found.meta.get("baseline") or {}).get("by_perturbation")
    rows = [_row(found, curve, against) for curve in shown]
    show(table([*columns, *(["ratio"] if against is not None else [])], rows, _title(found)), console=console)


def remarks(found: Sweep) -> Iterator[str]:
    """What the table does not say: constancy, the ratio, what has no answer and what failed."""
    meta = found.meta
    if found.constant:
        yield f"CONSTANT: the lines of {meta['card']['name']} do not follow the picture; that nothing moves is no merit"
    if against := meta.get("baseline"):
        mean = "undefined: the baseline does not move" if against["mean"] is None else f"{against['mean']:.3g}"
        yield f"corruption ratio to {against['card']} ({against['path']}): {mean}"
    if worst := meta.get("worst"):
        yield _told(worst, found.unit)
    for curve in meta["curves"]:
        if curve["why"]:
            yield f"not measured: {curve['perturbation']}: {curve['why']}"
    for curve in meta["curves"]:
        if failed := sum(point["crashed"] for point in curve["points"]):
            yield f"CRASHED: {curve['perturbation']}: {failed} cells; their reasons are in {found.path / 'cells'}"


def _told(worst: Mapping[str, Any], unit: str) -> str:
    amounts = ", ".join(f"{name} {amount:.3g}" for name, amount in worst["amounts"].items())
    return (
        f"worst bend of {worst['tried']} tries: {with_unit(worst['bend'], 'length', unit)} {worst['band']}, "
        f"{worst['times']:.2g} x its finding threshold, in {worst['case']} frame {worst['frame']}, by {amounts}; "
        f"alone, {worst['alone']} does most: {worst['alone_times']:.2g} x"
    )


def _title(found: Sweep) -> str:
    meta = found.meta
    cases = len(meta["cases"])
    return (
        f"{meta['card']['name']} on {meta['pipeline']}/{meta['engine']}, {counted(cases, 'case')}; "
        "offset, bend and lines lost at the highest severity, worst case and band"
    )


def _row(found: Sweep, curve: Mapping[str, Any], against: Mapping[str, float | None] | None) -> Sequence[str]:
    unit, name, last = found.unit, curve["perturbation"], curve["points"][-1]
    cells = [name, f"{last['amount']:g} {found.meta['units'][name]}"]
    cells += [number(point["deviation"], "length", unit) for point in curve["points"]]
    cells += [with_unit(last["offset_p99"], "length", unit), with_unit(last["bend_p99"], "length", unit)]
    cells += [with_unit(last["missing"], "share", unit), _plain(last["follow"])]
    cells += [with_unit(found.meta["gain"][name], "length", unit)]
    return cells if against is None else [*cells, _plain(against.get(name))]


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
