"""Peers of the detection benchmark: what each gate says of equal, differing, lost and unfinite outputs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.detection import Tried, gates, told


def frames(*values: float) -> list[dict[str, np.ndarray] | None]:
    """Outputs of one frame for each value: 1 to 9, the last one changed by it."""
    return [{"y": np.array([*range(1, 9), 9 + v], np.float32)} for v in values]


@pytest.mark.parametrize("name", gates())
def test_a_gate_passes_what_is_equal_and_nothing_that_is_lost_or_unfinite(name: str) -> None:
    gate = gates()[name]
    assert not gate(frames(0, 0), frames(0, 0))
    assert gate(frames(0, 0), frames(0, 90))
    assert gate(frames(0, 0), frames(0, np.nan))
    assert gate(frames(0, 0), [*frames(0), None])


def test_gates_differ_in_what_they_let_pass() -> None:
    known = gates()
    assert known["largest difference <= 0.01"](frames(0), frames(0.05))
    assert not known["largest difference <= 0.1"](frames(0), frames(0.05))
    assert known["cosine >= 0.999"](frames(0), frames(2))
    assert not known["cosine >= 0.99"](frames(0), frames(2))


def test_polygraphy_is_asked_by_its_own_limits() -> None:
    pytest.importorskip("polygraphy", reason="polygraphy is an extra of this benchmark alone")
    known = gates()
    assert known["Polygraphy, defaults"](frames(0), frames(0.005))
    assert not known["Polygraphy, 0.001"](frames(0), frames(0.005))


def test_the_table_counts_harmful_faults_and_clean_controls_alone() -> None:
    names = list(gates())
    flagged = {way: dict.fromkeys(names, True) for way in ("engine", "chain")}
    silent = {way: dict.fromkeys(names, False) for way in ("engine", "chain")}
    tried = [Tried("a", "export", flagged), Tried("b", "car", silent), Tried("k", "", silent)]
    said = {"stage": "export", "blamed": "export", "unit": "m of error", "caught": True}
    outcomes = {
        "a": {**said, "harm": "harmful", "effect": 0.2},
        "b": {**said, "harm": "grey", "effect": 0.04},
        "k": {**said, "harm": "harmless", "caught": False},
    }
    lines = list(told(outcomes, tried))
    assert "| Trueline | ladder | 1 | 0 | 1 |" in lines
    assert f"| {names[0]} | engine | 1 | 0 | 0 |" in lines
    assert "- `a` (export, 0.2 m of error): missed by none" in lines
    assert not any("`b`" in line for line in lines)
