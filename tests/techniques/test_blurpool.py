"""BlurPool: filters against scipy, networks that keep their weights and their geometry, and less aliasing."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate1d
from small_tasks import classes_task
from stopped import assert_resumes, run, same
from torch import Tensor, nn

from techniques.blurpool import Blur, BlurPool, antialiased, strided_layers
from techniques.errors import TechniqueOptionError
from techniques.registry import build

BINOMIAL = {3: [1, 2, 1], 5: [1, 4, 6, 4, 1], 7: [1, 6, 15, 20, 15, 6, 1]}


@given(
    taps=st.sampled_from(sorted(BINOMIAL)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    size=st.tuples(st.integers(4, 11), st.integers(4, 11)),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_a_blur_is_scipys_mirrored_correlation_sampled(
    taps: int, strides: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    kernel, expected = np.array(BINOMIAL[taps]) / sum(BINOMIAL[taps]), x.numpy()
    for d, stride in enumerate(strides):
        if stride > 1:
            expected = correlate1d(expected, kernel, axis=2 + d, mode="mirror")
    found = Blur([s > 1 for s in strides], strides, taps).double()(x)
    np.testing.assert_allclose(found.numpy(), expected[..., :: strides[0], :: strides[1]], atol=1e-12)


def test_a_blur_of_one_dimension_is_a_row_of_two() -> None:
    x = torch.randn(2, 3, 9)
    torch.testing.assert_close(Blur([True], [2])(x), Blur([False, True], [1, 2])(x[:, :, None])[:, :, 0])


def _sequential() -> nn.Module:
    """A strided convolution with its activation, a pooling, a strided one alone, and one over rows only."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1)), nn.Conv2d(6, 5, 3, (2, 1), 1), nn.Tanh(),
    )  # fmt: skip


class _Free(nn.Module):
    """Strided layers that a forward function joins."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.pool = nn.Conv2d(1, 3, 3, 2, 1), nn.Conv2d(3, 4, 2, 2, bias=False), nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(torch.relu(self.b(torch.relu(self.a(x)))))


@pytest.mark.parametrize("make", [_sequential, _Free])
@pytest.mark.parametrize("size", [(32, 48), (37, 51), (64, 33)])
def test_shapes_and_names_of_weights_stay(make, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = make().eval()
    changed = antialiased(copy.deepcopy(network))
    assert {k: v.shape for k, v in changed.state_dict().items()} == {
        k: v.shape for k, v in network.state_dict().items()
    }
    assert same(changed.state_dict(), network.state_dict())
    assert [n for n, _ in changed.named_parameters()] == [n for n, _ in network.named_parameters()]
    x = torch.rand(2, 1, *size)
    assert changed(x).shape == network(x).shape
    assert not torch.equal(changed(x), network(x))


def test_what_is_smooth_already_is_left_where_it_is() -> None:
    """A filter of odd length moves nothing: of a ramp, interior values stay to the bit of rounding."""
    ramp = torch.arange(40, dtype=torch.float64).expand(1, 1, 20, 40)
    conv = nn.Conv2d(1, 1, 3, 2, 1, bias=False).double()
    with torch.no_grad():
        conv.weight.copy_(torch.eye(3)[1][:, None] * torch.eye(3)[1])  # the identity
    plain = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(1, 2))
    changed = antialiased(copy.deepcopy(plain), taps=5)
    torch.testing.assert_close(changed(ramp)[..., 2:-2], plain(ramp)[..., 2:-2])


@pytest.mark.parametrize("make", [_sequential, _Free])
def test_a_shift_by_less_than_the_stride_changes_less(make) -> None:
    """The claim: between two samplings of one picture outputs differ less. Shifts by the full stride stay exact."""
    torch.manual_seed(1)
    network = make().eval()
    changed = antialiased(copy.deepcopy(network)).eval()
    picture = torch.rand(8, 1, 66, 66)

    def apart(model: nn.Module) -> float:
        one, other = model(picture[..., :64, :64]), model(picture[..., :64, 1:65])
        return float(((one - other)[..., 2:-2].square().mean() / one.var()).detach())

    assert apart(changed) < 0.6 * apart(network)


def test_the_activation_is_filtered_not_what_goes_into_it() -> None:
    """BlurPool . act . norm . Conv_1, written out; a convolution alone is Conv_s . Blur."""
    torch.manual_seed(2)
    conv, norm = nn.Conv2d(2, 3, 3, 2, 1), nn.BatchNorm2d(3)
    norm.running_mean.uniform_(-1, 1)
    network = antialiased(nn.Sequential(copy.deepcopy(conv), norm, nn.ReLU())).eval()
    x, blur = torch.randn(2, 2, 12, 12), Blur([True, True], [2, 2])
    dense = nn.functional.conv2d(x, conv.weight, conv.bias, 1, 1)
    torch.testing.assert_close(network(x), blur(torch.relu(norm(dense))))
    alone = antialiased(nn.Sequential(copy.deepcopy(conv)))
    torch.testing.assert_close(alone(x), conv(Blur([True, True], [1, 1])(x)))


def test_only_named_layers_change() -> None:
    network = _sequential()
    assert strided_layers(network) == ["0", "3", "4.0", "5"]
    changed = antialiased(network, layers=["3"])
    assert changed[0].stride == (2, 2)
    assert [type(m).__name__ for m in changed[3]] == ["MaxPool2d", "Blur"]


def test_one_activation_module_for_all_is_filtered_where_it_follows_a_stride() -> None:
    relu = nn.ReLU()
    network = antialiased(nn.Sequential(nn.Conv2d(1, 2, 3, 1, 1), relu, nn.Conv2d(2, 2, 3, 2, 1), relu))
    assert network[1] is relu
    assert [type(m).__name__ for m in network[3]] == ["ReLU", "Blur"]


def test_a_trained_network_has_them_and_a_plain_one_takes_its_weights() -> None:
    task = replace(classes_task(32), network=_strided)
    trained = run(task, [BlurPool()], passes=40)
    plain = task.network()
    plain.load_state_dict(trained.model.state_dict())
    x = task.test.inputs[0][:8]
    assert not torch.allclose(plain.eval()(x), trained.model(x))
    torch.testing.assert_close(antialiased(plain).eval()(x), trained.model(x))
    assert not same(trained.model.state_dict(), run(task, [], passes=40).model.state_dict())


def _strided() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 2)
    )


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    assert_resumes(replace(classes_task(48), network=_strided), BlurPool, tmp_path, stops=(1, 4), passes=42)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_trains_in_any_precision(precision: str) -> None:
    task = replace(classes_task(), network=_strided)
    trained = run(task, [BlurPool()], passes=240, precision=precision, rate=1e-2)
    assert trained.history[-1][1] < 0.9 * trained.history[0][1]


@pytest.mark.parametrize(
    ("network", "options", "said"),
    [
        (_sequential, {"taps": 4}, "3, 5 or 7"),
        (_sequential, {"taps": 1}, "3, 5 or 7"),
        (_sequential, {"layers": ["1"]}, "'1' subsamples nothing"),
        (lambda: nn.Sequential(nn.Linear(3, 3)), {}, "no layer of the network subsamples"),
        (lambda: nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)), {}, "ceil_mode"),
    ],
)
def test_what_cannot_be_filtered_is_one_clear_error(network, options: dict[str, object], said: str) -> None:
    with pytest.raises(TechniqueOptionError, match=said) as caught:
        antialiased(network(), **options)
    assert "blurpool" in caught.value.where
    assert caught.value.remedy
    with pytest.raises(TechniqueOptionError, match="no option"):
        build("blurpool", stride=2)
