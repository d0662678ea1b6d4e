from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run, same
from torch import nn

from techniques.batchnorm import batchnorms
from techniques.branches import Branched
from techniques.errors import EmptyData, ModelMismatch, NonFiniteLoss, TechniqueError, TechniqueOptionError
from techniques.objectives import Classification
from techniques.soups import GreedySoup, LearnedSoup, UniformSoup, greedy_soup, learned_soup, mixed, uniform_soup
from techniques.task import Batch, TensorExamples
from techniques.training import Loop, Settings
from techniques.weights import cloned

KINDS = [UniformSoup, GreedySoup, LearnedSoup]
TASKS = {"classes": classes_task(), "polylines": polylines_task()}


def scalar(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor([value], dtype=torch.float64)}


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def batch(seed: int, count: int = 64) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator)
    return Batch((x,), (x[:, :3].argmax(1),))


def test_the_uniform_soup_is_the_mean():
    assert uniform_soup([scalar(1), scalar(2), scalar(6)])["w"].tolist() == [3.0]


@pytest.mark.parametrize("cook", [uniform_soup, lambda s: greedy_soup(s, lambda _: 1.0).state])
def test_a_soup_of_one_model_is_that_model_bit_for_bit(cook):
    state = network(0).state_dict()
    assert same(cook([state]), state)


def test_a_learned_soup_of_one_model_is_that_model_bit_for_bit():
    model = network(0)
    shares = learned_soup(network(1), [model.state_dict()], Classification(), [batch(0)])
    assert same(mixed(model, [model.state_dict()], shares), model.state_dict())


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=6), st.floats(-10, 10))
def test_greedy_is_never_worse_than_the_best_single_on_its_selection_set(values, target):
    def error(state: dict[str, torch.Tensor]) -> float:
        return abs(math.sin(3 * float(state["w"])) + float(state["w"]) - target)

    soup = greedy_soup([scalar(v) for v in values], error)
    assert soup.error <= min(soup.errors)
    assert error(soup.state) == soup.error
    assert soup.errors == tuple(error(scalar(v)) for v in values)


def test_greedy_goes_from_best_to_worst_and_leaves_out_what_hurts():
    soup = greedy_soup([scalar(v) for v in (9.0, -1.0, 1.5)], lambda s: abs(float(s["w"])))
    assert soup.chosen == (1, 2)  # -1, then the mean .25; with 9 it would be 3.17
    assert soup.state["w"].tolist() == [0.25]


def test_greedy_keeps_an_ingredient_that_is_no_worse():
    assert greedy_soup([scalar(1), scalar(2)], lambda _: 0.5).chosen == (0, 1)


def test_greedy_repairs_means_but_no_single_ingredient_and_returns_what_it_measured():
    repairs = []

    def repaired(state):
        repairs.append(float(state["w"]))
        return {"w": state["w"] / 10}

    soup = greedy_soup([scalar(2), scalar(4)], lambda s: abs(float(s["w"])), repaired=repaired)
    assert repairs == [3.0]
    assert soup.state["w"].tolist() == [0.3]
    assert soup.error == pytest.approx(0.3)


def test_greedy_refuses_an_error_that_is_not_finite_and_passes_over_such_a_mean():
    with pytest.raises(NonFiniteLoss, match="nan") as error:
        greedy_soup([scalar(1), scalar(2)], lambda s: math.nan if float(s["w"]) == 2 else 1.0)
    assert error.value.where == "states[1]"
    soup = greedy_soup([scalar(1), scalar(3)], lambda s: math.nan if float(s["w"]) == 2 else 1.0)
    assert soup.chosen == (0,)


def test_the_learned_mix_descends_the_loss_as_written_out():
    """Two linear networks, one step by hand: AdamW's first step is rate * sign(gradient of the logits)."""
    model = nn.Linear(4, 3, bias=False)
    states = [{"weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(i))} for i in range(3)]
    data = batch(0)
    logits = torch.zeros(3, requires_grad=True)
    weight = sum(torch.softmax(logits, 0)[i] * states[i]["weight"] for i in range(3))
    nn.functional.cross_entropy(data.inputs[0] @ weight.T, data.targets[0]).backward()
    by_hand = torch.softmax(-0.05 * logits.grad.sign(), 0)
    shares = learned_soup(model, states, Classification(), [data])
    assert torch.allclose(shares["weight"].float(), by_hand, atol=1e-4)


def test_the_learned_mix_finds_the_good_ingredient():
    model, good = network(0), network(0)
    with torch.no_grad():
        good[3].weight.zero_()
        good[0].weight.zero_()
        for i in range(3):
            good[0].weight[i, i], good[3].weight[i, i] = 3.0, 3.0
    bad = network(5)
    states = [bad.state_dict(), good.state_dict()]
    shares = learned_soup(model, states, Classification(), (batch(i) for i in range(60)))
    assert shares.keys() == dict(model.named_parameters()).keys()
    assert float(shares["3.weight"][1]) > 0.7
    for share in shares.values():
        assert float(share.sum()) == pytest.approx(1)


@pytest.mark.parametrize("training", [True, False])
def test_learning_a_mix_leaves_the_model_its_modes_and_its_ingredients_alone(training):
    model = network(0).train(training)
    model[1].eval()  # frozen, or evaluating with the rest
    before, states = cloned(model.state_dict()), [network(i).state_dict() for i in (1, 2)]
    copies = copy.deepcopy(states)
    learned_soup(model, states, Classification(), [batch(0), batch(1)])
    assert same(model.state_dict(), before)
    assert model.training is training
    assert model[1].training is False
    assert all(p.grad is None for p in model.parameters())
    assert all(same(a, b) for a, b in zip(states, copies, strict=True))


def test_tied_parameters_stay_tied_in_a_learned_mix():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.second.weight = self.first.weight
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.second(torch.tanh(self.first(x))))

    models = [Tied() for _ in range(3)]
    states = [m.state_dict() for m in models]
    soup = mixed(models[0], states, learned_soup(models[0], states, Classification(), [batch(i) for i in range(9)]))
    assert torch.equal(soup["first.weight"], soup["second.weight"])
    assert not torch.equal(soup["first.weight"], uniform_soup(states)["first.weight"])


@pytest.mark.parametrize(
    "cook",
    [
        uniform_soup,
        lambda s: greedy_soup(s, lambda _: 0.0),
        lambda s: learned_soup(network(0), s, Classification(), [batch(0)]),
    ],
    ids=["uniform", "greedy", "learned"],
)
def test_other_architectures_other_keys_and_no_ingredients_are_one_clear_error_each(cook):
    state = network(0).state_dict()
    with pytest.raises(
        ModelMismatch, match=r"'0.weight' is torch.float32 \[6, 4\], the first has torch.float32 \[5, 4\]"
    ):
        cook([state, {**state, "0.weight": torch.zeros(6, 4)}])
    with pytest.raises(ModelMismatch, match=r"with \['9.weight'\]"):
        cook([state, {**state, "9.weight": torch.zeros(1)}])
    with pytest.raises(ModelMismatch, match="no weights"):
        cook([])


def test_a_learned_soup_needs_a_batch():
    with pytest.raises(EmptyData, match="selection set"):
        learned_soup(network(0), [network(1).state_dict()], Classification(), [])


def test_independent_starts_do_not_mix():
    """Two networks with the same function, the second one with its hidden units in another order."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(512, 4, generator=generator)
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 1))
    state = cloned(model.state_dict())
    order = torch.randperm(64, generator=generator)
    other = {**state, "0.weight": state["0.weight"][order], "0.bias": state["0.bias"][order]}
    other["2.weight"] = state["2.weight"][:, order]
    outputs = []
    for weights in (state, other, uniform_soup([state, other])):
        model.load_state_dict(weights)
        outputs.append(model(x).detach())
    assert torch.allclose(outputs[0], outputs[1], atol=1e-5)
    assert float((outputs[2] - outputs[0]).std()) > 0.1 * float(outputs[0].std())


# In the training loop.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TASKS)
def test_it_trains_within_its_budget_and_a_stopped_run_goes_on(kind, name, tmp_path):
    task = TASKS[name]
    before = Loop(task, [], Settings())
    first_error = before.mean_error(before.model, task.test)
    trained = run(task, [kind(branches=3)], passes=300)
    report = trained.reports[kind.name]
    assert 300 <= trained.passes.total <= 302
    assert before.mean_error(trained.model, task.test) < 0.75 * first_error
    assert len(report["ingredient_errors"]) == 3
    assert before.mean_error(trained.model, task.selection) == report["soup_error"]
    assert report["least_cosine"] > 0.8
    assert_resumes(task, lambda: kind(branches=2), tmp_path, stops=[3, 9, 14], passes=36)  # 9: the trunk has just ended


@pytest.mark.parametrize("name", TASKS)
def test_greedy_in_the_loop_is_never_worse_than_its_best_branch(name):
    for seed in range(2):
        report = run(TASKS[name], [GreedySoup(branches=3)], passes=48, seed=seed).reports["greedy-soup"]
        assert report["soup_error"] <= min(report["ingredient_errors"])
        assert report["chosen"][0] == report["ingredient_errors"].index(min(report["ingredient_errors"]))


@pytest.mark.parametrize("kind", KINDS)
def test_one_branch_gives_that_branch_bit_for_bit(kind):
    trained = run(TASKS["polylines"], [kind(branches=1)], passes=40)
    (technique,) = trained.techniques
    assert same(trained.model.state_dict(), technique.ingredients[0])


def test_a_uniform_soup_of_branches_is_their_mean_with_statistics_of_its_own():
    trained = run(TASKS["polylines"], [UniformSoup(branches=3)], passes=60)
    (technique,) = trained.techniques
    state, mean = trained.model.state_dict(), uniform_soup(technique.ingredients)
    statistics = {k for k in state if "running" in k or "tracked" in k}
    assert same(
        {k: v for k, v in state.items() if k not in statistics}, {k: v for k, v in mean.items() if k not in statistics}
    )
    (layer,) = batchnorms(trained.model)
    assert not torch.equal(layer.running_var, mean["body.1.running_var"])
    assert int(layer.num_batches_tracked) == len(TASKS["polylines"].train) // 16


def test_branches_start_at_the_trunk_with_a_fresh_optimiser_and_rates_of_their_own():
    seen = []

    class Watch(Branched):
        name = "watch"

        def before_step(self, loop, batch):
            technique = loop.techniques[0]
            seen.append(
                (
                    len(technique.ingredients) if technique._trunk else -1,
                    loop.optimiser.param_groups[0]["lr"],
                    len(loop.optimiser.state),
                    cloned(loop.model.state_dict()),
                )
            )
            return batch

        def after_step(self, loop):
            pass

    soup = UniformSoup(branches=3, rate=0.5, spread=2.0, trunk=0.5)
    technique = run(TASKS["polylines"], [soup, Watch()], passes=60, rate=0.01).techniques[0]
    firsts = [next(entries) for number, entries in itertools.groupby(seen, key=lambda e: e[0]) if number >= 0]
    assert [rate for _, rate, _, _ in firsts] == pytest.approx([0.0025, 0.005, 0.01])
    assert [held for _, _, held, _ in firsts] == [0, 0, 0]
    assert all(same(state, technique._trunk["model"]) for *_, state in firsts)
    assert sum(number == -1 for number, *_ in seen) == 15  # half of 30 steps
    assert not same(technique.ingredients[0], technique.ingredients[1])


def test_learning_the_mix_is_part_of_the_budget():
    examples = TASKS["classes"].selection.inputs, TASKS["classes"].selection.targets
    few = TensorExamples(*(tuple(t[:48] for t in part) for part in examples))
    task = type(TASKS["classes"])(**{**vars(TASKS["classes"]), "selection": few})
    trained = run(task, [LearnedSoup(branches=2)], passes=200)  # 3 batches, 5 epochs: 15 steps of 2 passes
    assert trained.passes.total == 200
    assert trained.steps == 100 - 15
    shares = trained.reports["learned-soup"]["shares"]
    assert {len(s) for s in shares.values()} == {2}


@pytest.mark.parametrize(
    ("option", "value"),
    [("branches", 0), ("trunk", -0.1), ("trunk", 1.0), ("rate", 0.0), ("rate", math.nan), ("spread", 0.5)],
)
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(TechniqueOptionError) as error:
        GreedySoup(**{option: value})
    assert option in error.value.where
    assert "greedy-soup" in error.value.where


@pytest.mark.parametrize(("option", "value"), [("learning_rate", 0), ("epochs", 0), ("share", 1.0)])
def test_options_of_the_learned_soup_out_of_range_are_refused(option, value):
    with pytest.raises(TechniqueOptionError, match=option):
        LearnedSoup(**{option: value})


def test_a_budget_too_small_for_all_branches_is_one_clear_error():
    with pytest.raises(TechniqueOptionError, match="3 of 8 branches") as error:
        run(TASKS["classes"], [UniformSoup(branches=8)], passes=12)
    assert "budget" in error.value.remedy


@pytest.mark.parametrize("kind", [GreedySoup, LearnedSoup])
def test_the_set_that_selects_must_not_be_the_set_that_judges(kind):
    task = type(TASKS["classes"])(**{**vars(TASKS["classes"]), "test": TASKS["classes"].selection})
    with pytest.raises(TechniqueError, match="also the set that judges"):
        run(task, [kind()])


def test_it_trains_in_bf16():
    assert run(TASKS["polylines"], [LearnedSoup(branches=2)], passes=40, precision="bf16").steps > 10
