"""Raw outputs compared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MetricError
from harness.measures import tensor as module
from harness.measures.tensor import TENSOR_METRICS, tensor_metrics
from tests.harness.measures import slow_metrics as slow
from tests.strategies import quick, tensors


def agrees(before: np.ndarray, after: np.ndarray) -> None:
    found = tensor_metrics(before, after)
    assert tuple(found) == TENSOR_METRICS
    for i in range(len(before)):
        expected = slow.tensor_row(before[i].ravel(), after[i].ravel())
        for name in TENSOR_METRICS:
            np.testing.assert_allclose(found[name][i], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


@quick
@given(tensors())
def test_agrees_with_element_by_element(pair):
    agrees(*pair)


@quick
@given(st.integers(0, 2**32 - 1), st.integers(300, 700), st.sampled_from([1e-7, 1e-3, 1.0]), st.floats(0, 0.2))
def test_long_outputs_take_another_path_with_the_same_result(seed, elements, change, share):
    rng = np.random.default_rng(seed)
    before = rng.normal(size=(2, 1, elements)).astype(np.float32)
    after = before + (change * rng.normal(size=before.shape) * (rng.random(before.shape) < share)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ELEMENTS_PER_PIECE", 128)
        patch.setattr(module, "FLOOR_SAMPLES", 64)
        patch.setattr(module, "FLOOR_RANK", 4)
        agrees(before, after)


def test_a_sample_unlike_the_rest_does_not_spoil_the_percentile():
    before = np.zeros((1, 1 << 17), np.float32)
    after = np.full_like(before, 1e-3)
    after[0, :: before.shape[1] // module.FLOOR_SAMPLES] = 1.0  # what the sample sees: 3 % of all
    after[0, 1::1000] = 2.0
    agrees_p99 = np.quantile(after[0], 0.99)
    np.testing.assert_allclose(tensor_metrics(before, after)["p99_abs"], agrees_p99)
    after[0, :: before.shape[1] // module.FLOOR_SAMPLES * 4] = 1e-3
    np.testing.assert_allclose(tensor_metrics(before, after)["p99_abs"], np.quantile(after[0], 0.99))
    few = np.full_like(before, 1e-3)
    few[0, 32 * np.arange(1000)] = 1.0  # sampled, yet less than 1 % of all
    np.testing.assert_allclose(tensor_metrics(before, few)["p99_abs"], 1e-3)


def test_a_mask_sized_output_agrees_too():
    rng = np.random.default_rng(0)
    before = rng.normal(size=(2, 2, 90, 160)).astype(np.float32)
    after = before + rng.normal(0, 1e-4, before.shape).astype(np.float32)
    before = np.concatenate([before, before], axis=3)
    after = np.concatenate([after, after], axis=3)
    assert before[0].size > module.ELEMENTS_PER_PIECE
    after[1, 0, 3, 5], before[1, 1, 7, 7] = np.nan, np.inf
    agrees(before, after)


@quick
@given(tensors())
def test_an_output_equals_itself(pair):
    found = tensor_metrics(pair[0], pair[0])
    for i in range(len(pair[0])):
        some = np.isfinite(pair[0][i].astype(float)).any()
        exact = {"max_abs": 0, "rel_rms": 0, "cosine": 1, "snr_db": 150.0}
        for name, value in exact.items():
            np.testing.assert_equal(found[name][i], value if some else np.nan)


def test_neighbouring_floats_are_one_step_apart_across_zero_too():
    tiny = np.float32(1e-45)
    for a, b, steps in ((1.0, np.nextafter(np.float32(1), np.float32(2)), 1), (-tiny, tiny, 2), (-0.0, 0.0, 0)):
        pair = np.array([[a]], np.float32), np.array([[b]], np.float32)
        assert tensor_metrics(*pair)["ulp_p99"] == steps


def test_elements_that_are_not_finite_are_counted_and_left_out():
    before = np.array([[1, 2, np.inf, 4]], np.float32)
    after = np.array([[1.5, np.nan, np.inf, np.inf]], np.float32)
    found = tensor_metrics(before, after)
    assert found["nonfinite"] == 3
    assert found["max_abs"] == 0.5
    assert np.isnan(tensor_metrics(before, np.full_like(before, np.nan))["cosine"])


def test_a_zero_reference_has_no_signal():
    found = tensor_metrics(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32))
    assert (found["rel_rms"], found["snr_db"], found["cosine"]) == (np.inf, -np.inf, 0)


def test_small_frames_are_measured_together_and_apart_alike():
    rng = np.random.default_rng(1)
    before = rng.normal(size=(40, 3, 1100)).astype(np.float32)
    after = before + rng.normal(0, 1e-3, before.shape).astype(np.float32)
    after[17, 0, 0] = np.nan
    together = tensor_metrics(before, after)
    for i in range(40):
        for name, values in tensor_metrics(before[i : i + 1], after[i : i + 1]).items():
            np.testing.assert_allclose(values[0], together[name][i], rtol=1e-12, err_msg=name)


def test_no_frames_and_no_elements():
    assert tensor_metrics(np.zeros((0, 3)), np.zeros((0, 3)))["max_abs"].shape == (0,)
    assert np.isnan(tensor_metrics(np.zeros((2, 0)), np.zeros((2, 0)))["p99_abs"]).all()


def test_shapes_that_differ_are_refused():
    with pytest.raises(MetricError, match=r"\(1, 3\) and candidate \(1, 4\)"):
        tensor_metrics(np.zeros((1, 3)), np.zeros((1, 4)))
