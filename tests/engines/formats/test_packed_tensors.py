import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engines.errors import RecordingError
from engines.formats.packed import pack, read_safetensors, unpack, write_safetensors

DTYPES = ["?", "u1", "i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8"]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__")
TENSORS = st.dictionaries(NAMES, ARRAYS, max_size=4)


def joined(buffers):
    return b"".join(buffers)


def same(one, other):
    assert set(one) == set(other)
    for name in one:
        assert one[name].dtype == other[name].dtype
        assert one[name].shape == other[name].shape
        assert one[name].tobytes() == other[name].tobytes()


@settings(deadline=None, max_examples=40)
@given(TENSORS)
def test_the_library_reads_what_we_write_and_we_what_it_writes(tensors):
    same(safetensors.numpy.load(joined(pack(tensors))), tensors)
    same(unpack(safetensors.numpy.save(tensors))[0], tensors)


@settings(deadline=None, max_examples=40)
@given(TENSORS, st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_what_is_packed_comes_back_with_its_metadata(tensors, metadata):
    found, said = unpack(joined(pack(tensors, metadata)))
    same(found, tensors)
    assert said == metadata
    assert all(a.flags.aligned for a in found.values())


def test_nothing_is_copied_on_the_way():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    buffers = pack({"a": array})
    assert np.shares_memory(np.frombuffer(buffers[1], np.uint8), array)
    whole = bytearray(joined(buffers))
    found = unpack(whole)[0]["a"]
    whole[-4:] = np.float32(9).tobytes()
    assert found[1, 2] == 9


def test_any_layout_in_memory_is_packed_in_c_order():
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for view in (array.transpose(2, 0, 1), array[:, ::-1], array[..., ::2]):
        assert (unpack(joined(pack({"a": view})))[0]["a"] == view).all()


def test_bfloat16_is_widened(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    values = torch.tensor([1.0, -2.5, 3.140625, float("inf")], dtype=torch.bfloat16)
    save_file({"a": values}, tmp_path / "a.safetensors")
    found = read_safetensors(tmp_path / "a.safetensors")["a"]
    assert found.dtype == np.float32
    assert (found == values.float().numpy()).all()


@pytest.mark.parametrize("dtype", [">f4", "c8", "O", "M8[s]"])
def test_a_type_that_the_format_lacks_is_named(dtype):
    with pytest.raises(TypeError, match="tensor 'a' is"):
        pack({"a": np.zeros(2, dtype)})


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda data: data[:4], "truncated"),
        (lambda data: data[:40], "truncated"),
        (lambda data: data[:-1], "do not fit"),
        (lambda data: (2**40).to_bytes(8, "little") + data[8:], "truncated"),
        (lambda data: data.replace(b"F32", b"F8_"), "NumPy lacks"),
        (lambda data: data.replace(b'{"a"', b'["a"'), "not readable"),
        (lambda data: data.replace(b"[0,24]", b"[8,32]"), "do not fit"),
        (lambda data: data.replace(b'"shape"', b'"shade"'), "not readable"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, spoil, text):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"a": np.ones((2, 3), np.float32)})
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(RecordingError) as caught:
        read_safetensors(path)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
