import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import EngineOptionError
from engines.protocol import TensorSpec
from engines.tensorrt.profiles import profile_of

IMAGES = TensorSpec("images", ("batch", 3, "height", 640))


def test_a_static_graph_needs_no_profile():
    assert profile_of({}, (TensorSpec("images", (1, 3, 4, 4)),), {}, "trt-fp16") == {}


@given(st.lists(st.integers(1, 64), min_size=3, max_size=3).map(sorted), st.integers(1, 640))
def test_named_dimensions_take_the_sizes_of_their_name_and_others_the_cards(heights, width):
    inputs = (TensorSpec("images", ("batch", 3, "height", width)), TensorSpec("mask", ("batch", "height")))
    shapes = {"images": (-1, 3, -1, -1), "mask": (-1, -1)}
    found = profile_of(shapes, inputs, {"height": tuple(heights)}, "trt-fp16")
    assert found["images"] == tuple((1, 3, height, width) for height in heights)
    assert found["mask"] == tuple((1, height) for height in heights)


def test_an_unnamed_size_beside_the_batch_is_an_error_with_the_option_to_give():
    with pytest.raises(EngineOptionError, match="dimension 'height' has no sizes") as caught:
        profile_of({"images": (-1, 3, -1, 640)}, (IMAGES,), {}, "trt-fp16")
    assert "profiles = {height = [smallest, best, largest]}" in caught.value.remedy
    assert "input 'images'" in caught.value.where


def test_sizes_for_a_dimension_that_nothing_has_are_an_error():
    with pytest.raises(EngineOptionError, match="no input has a dimension 'hight'"):
        profile_of({"images": (-1, 3, -1, 640)}, (IMAGES,), {"hight": (1, 2, 3)}, "trt-fp16")
