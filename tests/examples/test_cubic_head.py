"""The demo network with a cubic head that is fitted inside the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines.dotted import load_dotted

ROOT = Path(__file__).parents[2] / "examples" / "roadlines"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return load_dotted("cubic:CubicRoadLines", ROOT)().eval()


def test_the_fit_is_numpys_weighted_one(network):
    rng = np.random.default_rng(0)
    u = np.linspace(0, 1, 33)
    y, weight = rng.normal(size=(5, len(u))), rng.uniform(0.1, 1, (5, len(u)))
    found = load_dotted("cubic:fitted", ROOT)(*map(torch.tensor, (y, weight, u[:, None] ** np.arange(7))), 0.0)
    for row, w, fit in zip(y, weight, found.numpy(), strict=True):
        expected = np.polynomial.Polynomial.fit(u, row, 3, domain=(-1, 1), window=(-1, 1), w=np.sqrt(w))
        np.testing.assert_allclose(fit, expected(u), atol=1e-7)


def test_in_fp32_a_cubic_road_comes_back_to_a_millimetre(network):
    x = network.station_m
    y = (1.7 + 0.02 * x + 1e-3 * x**2 - 1e-5 * x**3).expand(3, 4, -1)
    weight = torch.full((*y.shape, 40), 0.9)
    assert (network.finished(y, weight) - y).abs().max() < 1e-3


def test_stations_that_the_camera_does_not_see_and_unsure_ones_hardly_count(network):
    x = network.station_m
    y, weight = (0.01 * x).expand(1, 4, -1).clone(), torch.full((1, 4, len(x), 40), 0.9)
    y[..., :3] += 5.0  # nearer than the camera sees
    y[..., 20] += 1.0
    weight[..., 20, :] = 1e-6
    assert (network.finished(y, weight) - 0.01 * x).abs().max() < 1e-3


def test_its_lines_are_cubics_whatever_it_sees_and_it_learns(network):
    lines, scores = network(torch.randn(2, 3, 64, 160))
    assert lines.shape == (2, 4, 33, 2)
    assert scores.shape == (2, 4)
    assert lines[..., 1].diff(n=4).abs().max() < 1e-3
    lines[..., 1].square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    assert network.columns.weight.grad.abs().max() > 0
