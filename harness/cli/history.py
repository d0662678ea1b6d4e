"""`trueline history`: what gates found over time, and what drifts toward its limit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import JsonOption
from harness.terminal import print_json, show, table
from trueline._text import counted

if TYPE_CHECKING:
    from harness.history import Drift, Gate

__all__ = ["register"]


def history(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="written by `trueline gate RUN --history FILE`")],
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="only this model's gates")] = None,
    policy: Annotated[str | None, typer.Option("--policy", metavar="NAME", help="only gates by this policy")] = None,
    last: Annotated[int, typer.Option("--last", min=1, help="how many gates to print")] = 20,
    json: JsonOption = False,
) -> None:
    """Print the last gates, and the rules that still pass and have been getting worse."""
    from dataclasses import asdict

    from harness.history import History

    gates = History(file).gates(model, policy)
    found = [(gates_of[-1], drift) for gates_of in _together(gates) for drift in _drifts(gates_of)]
    if json:
        drifting = [{"model": g.model, "policy": g.policy, "profile": g.profile} | asdict(d) for g, d in found]
        print_json({"gates": [asdict(g) for g in gates[-last:]], "drifts": drifting})
        return
    rows = [(g.at, g.model, g.policy, g.profile, g.verdict, _failing(g)) for g in gates[-last:]]
    show(table(("time", "model", "policy", "profile", "verdict", "required rules that do not pass"), rows))
    for gate, drift in found:
        show(f"{gate.model}, {gate.policy}: {_told(drift)}")


def _together(gates: list[Gate]) -> list[list[Gate]]:
    """Gates of one model, policy and profile: only their numbers make a series."""
    series: dict[tuple[str, str, str], list[Gate]] = {}
    for gate in gates:
        series.setdefault((gate.model, gate.policy, gate.profile), []).append(gate)
    return list(series.values())


def _drifts(gates: list[Gate]) -> list[Drift]:
    from harness.history import drifts

    return drifts(gates)


def _failing(gate: Gate) -> str:
    return ", ".join(dict.fromkeys(n.rule for n in gate.numbers if n.required and n.status != "PASS"))


def _told(drift: Drift) -> str:
    left = max(1, round(drift.gates_left))
    return (
        f"{drift.rule} on {drift.rung} drifts toward its limit: {drift.values[0]:.3g} -> {drift.values[-1]:.3g} "
        f"{drift.unit} over {len(drift.values)} gates, limit {drift.limit:.3g}; at this rate it breaks in about "
        f"{counted(left, 'gate')}"
    )


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(history)
