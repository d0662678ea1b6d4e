from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from cases.errors import CaseFileError
from cases.readers.base import Stream
from cases.readers.tensors import TensorReader
from cases.schema import CameraMeta

Write = Callable[[NDArray[np.generic]], TensorReader]

DTYPES = st.sampled_from(["float32", "float16", "float64", "uint8", "int32", "int64", "bool"])


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write(array): the reader of that array, saved as one .npy file."""

    def make(array: NDArray[np.generic]) -> TensorReader:
        folder = tmp_path / "cameras" / "front" / "tensors"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "input.npy", array)
        return TensorReader(Stream(tmp_path, "front", CameraMeta(kind="tensors", pixel_format="tensor"), {}))

    return make


def _path(reader: TensorReader) -> Path:
    return reader.stream.folder / "tensors" / "input.npy"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rows_come_out_bit_for_bit(write: Write, data: st.DataObject) -> None:
    shape = data.draw(npst.array_shapes(min_dims=2, max_dims=4, max_side=5))
    array = data.draw(npst.arrays(data.draw(DTYPES), shape))
    indices = sorted(data.draw(st.sets(st.integers(0, len(array) - 1))))
    pictures = list(write(array).pictures(indices))
    assert len(pictures) == len(indices)
    for index, picture in zip(indices, pictures, strict=True):
        assert picture.data.tobytes() == array[index].tobytes()
        assert (picture.data.dtype, picture.data.shape) == (array.dtype, array.shape[1:])
        assert (picture.pixel_format, picture.width, picture.height) == ("tensor", 0, 0)


def test_every_tensor_is_the_callers_own(write: Write) -> None:
    array = np.arange(12.0).reshape(3, 4)
    first, second, _ = write(array).pictures(range(3))
    first.data[...] = 99
    np.testing.assert_array_equal(second.data, array[1])
    np.testing.assert_array_equal(next(write(array).pictures([0])).data, array[0])


def test_memory_holds_one_tensor_not_the_dump(write: Write) -> None:
    reader = write(np.zeros((500, 4000), np.float32))
    tracemalloc.start()
    for _ in reader.pictures(range(500)):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 4000 * 4


def test_a_dump_shorter_than_an_index_is_one_clear_error(write: Write) -> None:
    with pytest.raises(CaseFileError, match=r"ends after 3 pictures, frames\.parquet wants picture 3"):
        list(write(np.zeros((3, 2))).pictures(range(4)))


@pytest.mark.parametrize("keep", [0, 5, 40, 130, 170])
def test_a_truncated_dump_is_one_clear_error_at_once(write: Write, keep: int) -> None:
    reader = write(np.zeros((3, 2)))
    _path(reader).write_bytes(_path(reader).read_bytes()[:keep])
    with pytest.raises(CaseFileError, match=r"not a \.npy file|truncated") as error:
        next(reader.pictures([0]))
    assert "\n" not in str(error.value)
    assert len(reader.scan().problems) == 1


@pytest.mark.parametrize(
    "array",
    [np.asfortranarray(np.zeros((3, 2))), np.zeros(3), np.array(1.0)],
    ids=["fortran", "no row shape", "scalar"],
)
def test_an_array_without_rows_to_read_is_refused(write: Write, array: NDArray[np.generic]) -> None:
    with pytest.raises(CaseFileError, match="cannot be replayed"):
        next(write(array).pictures([0]))


def test_pickled_objects_are_refused_and_not_loaded(write: Write, tmp_path: Path) -> None:
    class Boom:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    reader = write(np.array([[Boom()], [Boom()]], dtype=object))
    with pytest.raises(CaseFileError, match="object"):
        next(reader.pictures([0]))
    assert not (tmp_path / "ran").exists()


def test_a_missing_dump_is_one_clear_error(write: Write) -> None:
    reader = write(np.zeros((3, 2)))
    _path(reader).unlink()
    with pytest.raises(CaseFileError, match=r"0 \.npy files, must be one"):
        next(reader.pictures([0]))


def test_a_dump_that_cannot_be_opened_is_one_clear_error(write: Write) -> None:
    reader = write(np.zeros((3, 2)))
    _path(reader).unlink()
    _path(reader).mkdir()
    with pytest.raises(CaseFileError, match="cannot be read"):
        next(reader.pictures([0]))
