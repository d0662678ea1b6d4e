import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engines.errors import RecordingError
from engines.formats.trtexec import outputs_of_json, parse_json, raw_array, raw_name, read_raw_folder, safe_name


def printed(value):
    """As a C++ stream prints a float."""
    return f"{value:.6g}"


def exported(arrays):
    """As trtexec --exportOutput lays it out."""
    entries = [
        f'  {{ "name" : "{name}"\n  , "dimensions" : "{"x".join(map(str, array.shape))}"\n  , "values" : [ '
        + ", ".join(map(printed, array.ravel()))
        + " ]\n  }"
        for name, array in arrays.items()
    ]
    return "[\n" + "\n, ".join(entries) + "\n]\n"


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=4, min_side=0, max_side=4), elements=st.floats(width=32)))
def test_six_digits_come_back_with_nan_and_inf(array):
    (found,) = outputs_of_json(parse_json(exported({"a": array})), "f").values()
    assert found.shape == array.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, array, rtol=5.1e-6, atol=1e-45)


@settings(deadline=None, max_examples=50)
@given(st.text(st.sampled_from('naif- ,:[]"\\x'), max_size=20), st.sampled_from(["nan", "-nan", "inf", "-inf", "1"]))
def test_words_in_strings_are_left_alone(name, word):
    content = parse_json(f'[{{"name": {json.dumps(name)}, "values": [{word}, {word}]}}]')
    assert content[0]["name"] == name
    np.testing.assert_equal(content[0]["values"], [float(word)] * 2)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"name": "a", "dimensions": "2x2", "values": [1, 2, 3]}, "has 3 values, its dimensions 2x2 ask for 4"),
        ({"name": "a", "values": [1]}, "no entry"),
        ({"name": "a", "dimensions": "1x?", "values": [1]}, "no entry"),
        ({"name": "a", "dimensions": "1", "values": ["x"]}, "no entry"),
        (7, "no entry"),
    ],
)
def test_json_of_another_form_is_one_line(entry, text):
    with pytest.raises(RecordingError) as caught:
        outputs_of_json([entry], "file.json")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(
        [("fp32", "<f4"), ("fp16", "<f2"), ("int8", "i1"), ("int32", "<i4"), ("int64", "<i8"), ("bool", "?")]
    ),
    st.lists(st.integers(1, 3), max_size=4),
    st.text(min_size=1, max_size=12).filter(lambda t: safe_name(t).strip(".")),
)
def test_a_raw_dump_comes_back_bit_for_bit_under_its_true_name(tmp_path_factory, kind, shape, name):
    word, dtype = kind
    array = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    folder = tmp_path_factory.mktemp("frame")
    dims = ".".join(map(str, shape))
    (folder / f"{safe_name(name)}.output.{dims}.{word}.raw").write_bytes(array.tobytes())
    (folder / f"image.input.{dims}.{word}.raw").write_bytes(b"not read")
    found = read_raw_folder(folder, [name])
    assert list(found) == [name]
    assert found[name].dtype == np.dtype(dtype)
    assert (found[name] == array).all()
    assert found[name].shape == tuple(shape)


def test_bfloat16_bits_are_widened(tmp_path):
    (tmp_path / "a").write_bytes(np.array([0x3F80, 0xC020], "<u2").tobytes())
    assert raw_array(tmp_path / "a", (2,), "bf16").tolist() == [1.0, -2.5]


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.output.2.2.fp32.raw", bytes(12), "12 bytes, fp32 [2, 2] has 16"),
        ("a.output.2.2.fp32.raw", bytes(20), "20 bytes, fp32 [2, 2] has 16"),
        ("a.output.2.2.fp7.raw", bytes(16), "unknown type 'fp7'"),
        ("a.raw", bytes(16), "the name tells neither shape nor type"),
        ("a.output.2.-1.fp32.raw", bytes(16), "the name tells neither shape nor type"),
    ],
)
def test_a_bad_raw_dump_is_one_line(tmp_path, name, data, text):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RecordingError) as caught:
        read_raw_folder(tmp_path)
    assert text in str(caught.value)
    assert name in caught.value.where
    assert "\n" not in str(caught.value)


def test_one_output_in_two_files_is_told(tmp_path):
    for dims in ("2.2", "4"):
        (tmp_path / f"a.output.{dims}.fp32.raw").write_bytes(bytes(16))
    with pytest.raises(RecordingError, match="'a' stands in two files"):
        read_raw_folder(tmp_path)


def test_a_name_with_dots_and_the_word_output_in_it(tmp_path):
    told = raw_name(tmp_path / "head.output.1.output.1.4.fp16.raw")
    assert (told.name, told.kind, told.shape, told.dtype) == ("head.output.1", "output", (1, 4), "fp16")
