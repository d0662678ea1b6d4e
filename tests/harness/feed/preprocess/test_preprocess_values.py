"""Rounding, normalisation and layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import PreprocessError
from harness.feed.preprocess.values import arrange, normalise, pick_channels, round_u8

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def pixels(dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(dtype)


def test_rounding_takes_ties_to_even_and_clips() -> None:
    values = np.array([-3.0, 0.5, 1.5, 2.4999, 254.6, 300], np.float32)
    assert round_u8(values).tolist() == [0, 0, 2, 2, 255, 255]
    assert round_u8(values, "truncate").tolist() == [0, 0, 1, 2, 254, 255]


def test_bytes_are_already_round() -> None:
    assert round_u8(pixels()) is not None
    np.testing.assert_array_equal(round_u8(pixels(), "truncate"), pixels())


def test_normalising_is_what_training_code_does() -> None:
    tensor = torch.from_numpy(pixels()).float().div(255)
    wanted = (tensor - torch.tensor(MEAN)) / torch.tensor(STD)
    np.testing.assert_array_equal(normalise(pixels(), mean=MEAN, std=STD), wanted.numpy())


@pytest.mark.parametrize("scale", [None, 1 / 255, 0.5])
def test_bytes_and_whole_floats_normalise_alike(scale: float | None) -> None:
    one, other = (normalise(pixels(kind), scale, MEAN, STD) for kind in ("uint8", "float32"))
    np.testing.assert_array_equal(one, other)


def test_multiplying_differs_from_dividing_by_one_bit_at_most() -> None:
    every = np.arange(256, dtype=np.uint8)[:, None]
    divided, multiplied = normalise(every), normalise(every, 1 / 255)
    assert (divided != multiplied).any()
    assert np.abs(divided.view(np.int32) - multiplied.view(np.int32)).max() == 1


def test_the_source_is_not_written_to() -> None:
    source = pixels("float32")
    kept = source.copy()
    normalise(source, mean=1.0, std=2.0)
    round_u8(source)
    np.testing.assert_array_equal(source, kept)


def test_a_mean_of_other_length_is_named() -> None:
    with pytest.raises(PreprocessError, match=r"2 values of mean for pixels of shape \[6, 8, 3\]"):
        normalise(pixels(), mean=[1, 2])


@settings(deadline=None)
@given(st.permutations([0, 1, 2]))
def test_a_channel_order_and_its_inverse_cancel(order: list[int]) -> None:
    inverse = np.argsort(order).tolist()
    np.testing.assert_array_equal(pick_channels(pick_channels(pixels(), order), inverse), pixels())


def test_a_missing_channel_is_named() -> None:
    with pytest.raises(PreprocessError, match=r"channels \[0, 3\] of pixels with 3"):
        pick_channels(pixels(), [0, 3])


def test_layouts_put_channels_where_they_say() -> None:
    assert arrange(pixels(), "NCHW").shape == (1, 3, 6, 8)
    assert arrange(pixels(), "NHWC").shape == (1, 6, 8, 3)
    assert arrange(pixels()[..., 0], "NCHW").shape == (1, 1, 6, 8)
    np.testing.assert_array_equal(arrange(pixels(), "NCHW")[0, 2], pixels()[..., 2])
