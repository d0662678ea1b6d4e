from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta as beta_distribution
from scipy.stats import kstest
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run
from torch import nn

from techniques.errors import NonFiniteLoss, TechniqueOptionError
from techniques.objectives import Classification
from techniques.regmixup import RegMixup, beta_shares, mixed_inputs, partner_chances, partners
from techniques.task import Domain, Task, TensorExamples
from techniques.training import Loop, Settings

INF = math.inf


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=7), st.floats(0.1, 3))
def test_chances_are_the_kernel_written_out(labels, bandwidth):
    y = torch.tensor(labels, dtype=torch.float64)
    found = partner_chances((y[:, None] - y[None]).abs(), bandwidth)
    for i, own in enumerate(labels):
        log_kernel = [-((own - other) ** 2) / (2 * bandwidth**2) for other in labels]
        greatest = max(v for j, v in enumerate(log_kernel) if j != i)
        kernel = [math.exp(v - greatest) if j != i else 0.0 for j, v in enumerate(log_kernel)]
        assert found[i].tolist() == pytest.approx([k / sum(kernel) for k in kernel], abs=1e-9)


def test_the_bandwidth_is_half_the_median_distance_unless_given():
    y = torch.tensor([0.0, 1.0, 3.0])  # distances 1, 2, 3: median 2
    distance = (y[:, None] - y[None]).abs()
    assert torch.equal(partner_chances(distance), partner_chances(distance, 1.0))


def test_inadmissible_partners_are_never_drawn_and_a_lonely_example_is_its_own():
    distance = torch.tensor([[0, 1, INF, INF], [1, 0, INF, INF], [INF, INF, 0, INF], [INF, INF, INF, 0.0]])
    chances = partner_chances(distance)
    assert chances.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    for seed in range(20):
        assert partners(chances, torch.Generator().manual_seed(seed)).tolist() == [1, 0, 2, 3]


def test_equal_labels_are_all_as_likely():
    assert torch.allclose(partner_chances(torch.zeros(4, 4)), (1 - torch.eye(4)).double() / 3)


def test_partners_come_as_often_as_their_chances_say():
    chances = torch.tensor([0.5, 0.3, 0.2]).expand(6000, 3)
    share = torch.bincount(partners(chances, torch.Generator().manual_seed(0)), minlength=3) / 6000
    assert torch.allclose(share, chances[0], atol=0.025)


@pytest.mark.parametrize("distance", [torch.tensor([[0.0, math.nan], [math.nan, 0.0]]), -torch.ones(2, 2)])
def test_distances_that_are_none_are_refused(distance):
    with pytest.raises(TechniqueOptionError, match="distances of 0 or more"):
        partner_chances(distance)


@pytest.mark.parametrize("alpha", [0.3, 10.0])
def test_shares_follow_the_beta_distribution_and_the_generator(alpha):
    generator = torch.Generator().manual_seed(0)
    shares = torch.cat([beta_shares(32, alpha, generator) for _ in range(200)])  # as in training: a draw a batch
    assert kstest(shares.numpy(), beta_distribution(alpha, alpha).cdf).pvalue > 0.001
    assert torch.equal(shares[:32], beta_shares(32, alpha, torch.Generator().manual_seed(0)))


def test_all_floating_inputs_are_mixed_alike_and_masks_are_the_examples_own():
    share = torch.tensor([0.25, 1.0])
    picture, pose, mask = torch.rand(2, 3, 2, 2), torch.rand(2, 2, dtype=torch.float64), torch.tensor([1, 2])
    other = (torch.rand(2, 3, 2, 2), torch.rand(2, 2, dtype=torch.float64), torch.tensor([3, 4]))
    mixed = mixed_inputs((picture, pose, mask), other, share)
    assert torch.allclose(mixed[0][0], 0.25 * picture[0] + 0.75 * other[0][0])
    assert torch.allclose(mixed[1][0], 0.25 * pose[0] + 0.75 * other[1][0])
    assert torch.allclose(mixed[0][1], picture[1])
    assert mixed[2].tolist() == [1, 2]
    assert mixed[1].dtype == torch.float64


def test_an_example_mixed_with_itself_stays_exactly_what_it_is():
    x = torch.rand(8, 5)
    assert torch.equal(mixed_inputs((x,), (x,), torch.rand(8))[0], x)


def one_gradient(eta: float, task: Task) -> tuple[Loop, torch.Tensor]:
    """The gradient of the first step's batch, and the loop."""
    loop = Loop(task, [RegMixup(eta=eta, partners="random")], Settings(batch=16))
    loop.begin()
    batch = next(iter(loop.batches(task.train, 16)))
    loop._gradient()(batch)
    return loop, torch.cat([p.grad.flatten() for p in loop.model.parameters()])


def linear_task() -> Task:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(32, 4, generator=generator), torch.randint(3, (32,), generator=generator)
    examples = TensorExamples((x,), (y,))
    return Task(lambda: nn.Linear(4, 3), Classification(), (Domain(-9, 9),), examples, examples, examples)


def test_the_mixed_gradient_has_its_full_weight():
    task = linear_task()
    plain_loop = Loop(task, [], Settings(batch=16))
    plain_loop.begin()
    batch = next(iter(plain_loop.batches(task.train, 16)))
    plain_loop._gradient()(batch)
    plain = torch.cat([p.grad.flatten() for p in plain_loop.model.parameters()])

    generator = torch.Generator().manual_seed(Settings().seed + 1_000_003)  # as the loop's
    other = torch.randperm(16, generator=generator)
    share = beta_shares(16, 10.0, generator).float()
    model, (x,), (y,) = plain_loop.model, batch.inputs, batch.targets
    log_p = torch.log_softmax(model(share[:, None] * x + (1 - share)[:, None] * x[other]), 1)
    rows = torch.arange(16)
    by_hand = -(share * log_p[rows, y] + (1 - share) * log_p[rows, y[other]]).mean()
    mixed = torch.cat([g.flatten() for g in torch.autograd.grad(by_hand, list(model.parameters()))])

    for eta in (1.0, 0.5):
        _, found = one_gradient(eta, task)
        assert torch.allclose(found, plain + eta * mixed, atol=1e-6)


def test_running_statistics_are_of_the_plain_pictures():
    task = polylines_task()
    (loop, _), plain = one_gradient(1.0, task), Loop(task, [], Settings(batch=16))
    plain.begin()
    plain._gradient()(next(iter(plain.batches(task.train, 16))))
    norms = [loop.model.body[1], plain.model.body[1]]
    assert torch.equal(norms[0].running_mean, norms[1].running_mean)
    assert torch.equal(norms[0].running_var, norms[1].running_var)
    assert int(norms[0].num_batches_tracked) == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [("alpha", 0), ("eta", 0), ("eta", math.nan), ("partners", "nearest"), ("bandwidth", 0.0), ("alpha", -1)],
)
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(TechniqueOptionError) as error:
        RegMixup(**{option: value})
    assert option in error.value.where


def test_a_mixed_loss_that_is_not_finite_is_one_clear_error():
    class Broken(Classification):
        def mixed_loss(self, outputs, targets, others, share):
            return outputs[0].sum(1) * torch.nan

    task = linear_task()
    with pytest.raises(NonFiniteLoss, match="mixed examples"):
        run(Task(**{**vars(task), "objective": Broken()}), [RegMixup()])


@pytest.mark.parametrize("choice", ["c-mixup", "random"])
@pytest.mark.parametrize("task", [classes_task(), polylines_task()], ids=["classes", "polylines"])
def test_it_trains_and_a_stopped_run_goes_on(task, choice, tmp_path):
    before = Loop(task, [], Settings())
    first_error = before.mean_error(before.model, task.test)
    trained = run(task, [RegMixup(partners=choice)], passes=400)
    assert trained.steps == 100  # two forward and two backward passes each
    assert before.mean_error(trained.model, task.test) < 0.75 * first_error
    assert_resumes(task, lambda: RegMixup(partners=choice), tmp_path, stops=[3], passes=24)


def test_it_trains_in_bf16():
    assert run(polylines_task(), [RegMixup()], passes=16, precision="bf16").steps == 4
