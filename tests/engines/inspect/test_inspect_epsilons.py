"""An epsilon is found where it matters, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest
from inspect_graphs import make_graph

from engines.inspect.epsilons import Epsilon, small_epsilons

NORMALISED = """(float[2,4] x) => (float[2,4] y) {
    m = ReduceMean <axes = [1]> (x)
    d = Sub(x, m)
    s = Mul(d, d)
    v = ReduceMean <axes = [1]> (s)
    g = Add(v, e)
    r = Sqrt(g)
    y = Div(d, r)
}"""


def found(tmp_path: Path, text: str, **weights: object) -> list[tuple[str, float]]:
    return [(e.op, e.half) for e in small_epsilons(make_graph(tmp_path, text, **weights))]


def test_a_guard_before_a_square_root_and_a_division(tmp_path: Path) -> None:
    (epsilon,) = small_epsilons(make_graph(tmp_path, NORMALISED, e=[1e-8]))
    assert epsilon == Epsilon(pytest.approx(1e-8), 0.0, "Add #4", "Add", "Div Div #6")


@pytest.mark.parametrize(("value", "half"), [(1e-12, [0.0]), (1e-6, [1.0132789611816406e-06]), (1e-3, []), (0.0, [])])
def test_its_value_in_fp16_decides(tmp_path: Path, value: float, half: list[float]) -> None:
    assert [h for _, h in found(tmp_path, NORMALISED, e=[value])] == half


@pytest.mark.parametrize("guard", ["Max(n, e)", "Clip(n, e)", "Add(e, n)"])
@pytest.mark.parametrize("use", ["Div(x, k)", "Reciprocal(k)", "Log(k)", "Pow(k, minus)"])
def test_every_guard_and_every_division(tmp_path: Path, guard: str, use: str) -> None:
    text = f"(float[4] x) => (float[4] y) {{ n = Abs(x)\n g = {guard}\n k = Identity(g)\n y = {use} }}"
    assert found(tmp_path, text, e=1e-9, minus=[-0.5]) == [(guard.partition("(")[0], 0.0)]


@pytest.mark.parametrize("use", ["Div(k, x)", "Mul(x, k)", "Pow(k, two)", "Relu(k)"])
def test_a_small_number_that_guards_nothing_is_no_epsilon(tmp_path: Path, use: str) -> None:
    text = f"(float[4] x) => (float[4] y) {{ k = Add(x, e)\n y = {use} }}"
    assert found(tmp_path, text, e=[1e-9], two=[2.0]) == []


@pytest.mark.parametrize(("variance", "expected"), [(1.0, []), (1e-6, [("BatchNormalization", 0.0)])])
def test_a_batchnorm_is_folded_unless_its_variance_is_as_small(tmp_path: Path, variance: float, expected: list) -> None:
    text = """(float[1,1,2] x) => (float[1,1,2] y) {
        y = BatchNormalization <epsilon = 1e-8> (x, one, one, one, v)
    }"""
    assert found(tmp_path, text, one=[1.0], v=[variance]) == expected


def test_the_default_of_an_attribute_counts(tmp_path: Path) -> None:
    text = "(float[2,4] x) => (float[2,4] y) { y = LayerNormalization (x, one) }"
    assert found(tmp_path, text, one=[1.0] * 4) == [("LayerNormalization", pytest.approx(1e-5, rel=0.01))]
