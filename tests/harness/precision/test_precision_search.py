"""The search alone: what it ends at holds and is 1-minimal, whatever the answers are."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.precision.search import Answers, Asked, Group, smallest, smallest_on_all

names = st.lists(st.text("abcdefgh", min_size=1, max_size=2), min_size=1, max_size=14, unique=True)


@given(ranking=names, data=st.data(), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_what_is_planted_is_found_and_nothing_else(ranking: list[str], data: st.DataObject, seed: int) -> None:
    planted = frozenset(data.draw(st.sets(st.sampled_from(ranking), min_size=1)))
    weights = {name: float(data.draw(st.integers(0, 3))) for name in ranking}
    assert smallest(ranking, Answers(lambda items: planted <= items), weights, seed) == planted


@given(ranking=names, salt=st.integers(0, 1000), seed=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_answers_that_are_not_monotone_still_end_at_a_set_that_holds_and_is_1_minimal(
    ranking: list[str], salt: int, seed: int
) -> None:
    def ask(items: frozenset[str]) -> bool:
        text = f"{salt}{sorted(items)}"
        return items == frozenset(ranking) or hashlib.sha256(text.encode()).digest()[0] % 3 == 0

    answers = Answers(ask)
    found = smallest(ranking, answers, dict.fromkeys(ranking, 1.0), seed)
    assert ask(found)
    assert not any(ask(found - {item}) for item in found if len(found) > 1)
    for small, large in answers.setbacks():
        assert small < large
        assert ask(small)
        assert not ask(large)


def test_no_set_is_tried_twice() -> None:
    asked: list[frozenset[str]] = []

    def ask(items: frozenset[str]) -> bool:
        asked.append(items)
        return {"c", "f"} <= items

    ranking = list("abcdefgh")
    answers = Answers(ask)
    for seed in (0, 1):
        assert smallest(ranking, answers, dict.fromkeys(ranking, 1.0), seed) == {"c", "f"}
    assert len(asked) == len(set(asked))


def test_of_two_sets_that_hold_the_lighter_one_is_left() -> None:
    weights = {"heavy": 10.0, "light": 1.0}
    for ranking in (["heavy", "light"], ["light", "heavy"]):
        answers = Answers(lambda items: len(items) == 2 or bool(items & {"heavy", "light"}))
        answers.known[frozenset(ranking[:1])] = False
        if ranking[0] == "heavy":
            assert smallest(ranking, answers, weights) == {"light"}


def test_a_step_that_made_it_worse_is_told() -> None:
    answers = Answers(lambda items: items in ({"a"}, {"a", "c"}, {"a", "b", "c"}))
    assert smallest(["b", "a", "c"], answers, dict.fromkeys("abc", 1.0)) == {"a"}
    assert (frozenset("a"), frozenset("ab")) in answers.setbacks()


@given(ranking=names, data=st.data(), seed=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_what_each_case_needs_is_found_though_few_cases_are_tried(
    ranking: list[str], data: st.DataObject, seed: int
) -> None:
    needs = [frozenset(data.draw(st.sets(st.sampled_from(ranking), max_size=3))) for _ in range(4)]
    needs[0] |= {ranking[0]}  # nothing kept fails on the first case
    tried: list[tuple[frozenset[str], Group]] = []

    def hold(items: frozenset[str], group: Group) -> bool:
        tried.append((items, group))
        return all(needs[place] <= items for place in group)

    def failing(items: frozenset[str], known: object) -> Group | None:
        return next(((place,) for place, need in enumerate(needs) if not need <= items), None)

    found = smallest_on_all(ranking, Asked(hold), failing, dict.fromkeys(ranking, 1.0), seed)
    assert found == frozenset().union(*needs)
    assert len(tried) == len(set(tried))


def test_setbacks_are_of_one_group_of_cases_and_told_once() -> None:
    answers = {(0,): {"a": True, "ab": False}, (1,): {"a": True, "ab": False, "b": False, "bc": True}}
    asked = Asked(lambda items, group: answers[group]["".join(sorted(items))])
    for group, known in answers.items():
        for items in known:
            asked(frozenset(items), group)
    assert asked.setbacks() == [(frozenset("a"), frozenset("ab"))]


def test_threads_that_ask_the_same_wait_for_one_answer() -> None:
    count = [0]
    begun = Event()

    def ask(items: frozenset[str]) -> bool:
        count[0] += 1
        begun.wait(5)
        return True

    answers = Answers(ask)
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(answers, frozenset("a")) for _ in range(2)]
        begun.set()
        assert [one.result() for one in both] == [True, True]
    assert count == [1]
