"""The search alone: what it ends at holds and is 1-minimal, whatever the answers are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.precision.search import Answers, Group, Items, OnCases, Tried, smallest

names = st.lists(st.text("abcdefgh", min_size=1, max_size=2), min_size=1, max_size=14, unique=True)


def of_each_case(holds: Callable[[Items, int], bool]) -> Answers:
    """A set holds on a group where it holds on every case of it."""

    def ask(items: Items, group: Group) -> Tried:
        failing = tuple(place for place in group if not holds(items, place))
        return Tried(not failing, failing)

    return Answers(ask)


def by_chance(*facts: object) -> bool:
    return hashlib.sha256(repr(facts).encode()).digest()[0] % 3 == 0


@given(ranking=names, data=st.data(), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_what_is_planted_is_found_and_nothing_else(ranking: list[str], data: st.DataObject, seed: int) -> None:
    planted = frozenset(data.draw(st.sets(st.sampled_from(ranking), min_size=1)))
    weights = {name: float(data.draw(st.integers(0, 3))) for name in ranking}
    sequence = data.draw(st.permutations(ranking))
    answers = of_each_case(lambda items, case: planted <= items)
    assert smallest(ranking, sequence, OnCases(answers, 1), weights, seed) == planted


@given(ranking=names, data=st.data(), seed=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_what_each_case_needs_is_found_though_few_cases_are_asked(
    ranking: list[str], data: st.DataObject, seed: int
) -> None:
    needs = [frozenset(data.draw(st.sets(st.sampled_from(ranking), max_size=3))) for _ in range(4)]
    needs[0] |= {ranking[0]}  # nothing kept fails on the first case
    tried: list[tuple[Items, Group]] = []

    def ask(items: Items, group: Group) -> Tried:
        tried.append((items, group))
        failing = tuple(place for place in group if not needs[place] <= items)
        return Tried(not failing, failing)

    found = smallest(ranking, ranking, OnCases(Answers(ask), 4), dict.fromkeys(ranking, 1.0), seed)
    assert found == frozenset().union(*needs)
    assert len(tried) == len(set(tried)), "no set is tried twice on the same cases"


@given(ranking=names, salt=st.integers(0, 1000), seed=st.integers(0, 3), cases=st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_answers_that_are_not_monotone_still_end_at_a_set_that_holds_and_is_1_minimal(
    ranking: list[str], salt: int, seed: int, cases: int
) -> None:
    def holds(items: Items, case: int) -> bool:
        return items == frozenset(ranking) or by_chance(salt, sorted(items), case)

    answers = of_each_case(holds)
    found = smallest(ranking, ranking, OnCases(answers, cases), dict.fromkeys(ranking, 1.0), seed)
    everything = tuple(range(cases))
    assert found == frozenset(ranking) or answers.known[found, everything].held, "it was tried on all cases"
    for item in found if len(found) > 1 else ():
        less = found - {item}
        assert any(items == less and not tried.held for (items, _), tried in answers.known.items()), "tried in vain"


def test_rules_that_all_cases_break_together_are_kept_as_well() -> None:
    def ask(items: Items, group: Group) -> Tried:
        return Tried("a" in items and ("c" in items or len(group) == 1))

    ranking = ["a", "b", "c", "d"]
    assert smallest(ranking, ranking, OnCases(Answers(ask), 3), dict.fromkeys(ranking, 1.0)) == {"a", "c"}


def test_a_stretch_of_the_network_that_holds_is_where_the_search_begins() -> None:
    """Of the whole network too many have to be left out at once."""
    sequence = list("abcdefgh")
    whole = frozenset(sequence)
    answers = of_each_case(lambda items, case: items == whole or (set("efg") <= items and not set("abh") & items))
    found = smallest(["g", "e", *"abcdfh"], sequence, OnCases(answers, 1), dict.fromkeys(sequence, 1.0))
    assert found == set("efg")


def test_of_two_sets_that_hold_the_lighter_one_is_left() -> None:
    weights = {"heavy": 10.0, "light": 1.0, "needed": 0.0}
    for ranking in (["heavy", "needed", "light"], ["light", "needed", "heavy"]):
        answers = of_each_case(lambda items, case: "needed" in items and bool(items & {"heavy", "light"}))
        answers.known[frozenset(ranking[:2]), (0,)] = Tried(False)
        if "light" in ranking[:2]:
            answers.known[frozenset(["light", "needed"]), (0,)] = Tried(True)
        assert smallest(ranking, ranking, OnCases(answers, 1), weights) == {"light", "needed"}


def test_a_step_that_made_it_worse_is_told_of_the_same_cases_and_once() -> None:
    answers = of_each_case(lambda items, case: items in ({"a"}, {"b", "c"}, {"a", "b", "c"}) or case == 1)
    for items in ("a", "ab", "abc"):
        for group in ((0,), (1,), (0, 1)):
            answers(frozenset(items), group)
    answers(frozenset("ac"), (1,))
    assert answers.setbacks() == [(frozenset("a"), frozenset("ab"))]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_few_sets_are_tried_where_half_of_a_stretch_is_needed(seed: int) -> None:
    sequence = [f"n{place:03d}" for place in range(100)]
    needed = frozenset(sequence[60:100:2])
    ranking = sorted(sequence, key=lambda name: (name not in needed, name))
    answers = of_each_case(lambda items, case: needed <= items)
    found = smallest(ranking, sequence, OnCases(answers, 1), dict.fromkeys(sequence, 0.0), seed)
    assert found == needed
    assert len(answers.known) < 100, "each needed one once, twice where one went after it, and some in groups"


def test_threads_that_ask_the_same_wait_for_one_answer() -> None:
    count = [0]
    begun = Event()

    def ask(items: Items, group: Group) -> Tried:
        count[0] += 1
        begun.wait(5)
        return Tried(True)

    answers = Answers(ask)
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(answers, frozenset("a"), (0,)) for _ in range(2)]
        begun.set()
        assert [one.result().held for one in both] == [True, True]
    assert count == [1]


def test_an_error_reaches_everyone_who_asked() -> None:
    def ask(items: Items, group: Group) -> Tried:
        raise OSError("the disk is full")

    answers = Answers(ask)
    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            answers(frozenset("a"), (0,))
