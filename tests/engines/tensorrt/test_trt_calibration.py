import struct

import pytest

from engines.errors import ModelLoadError
from engines.tensorrt.calibration import read_calibration_cache

GOOD = (
    "TRT-8601-EntropyCalibration2\nimages: 3b66eddc\n(Unnamed Layer* 48) [Constant]_output: 3dc6cf6e\na:0: 3c010a14\n"
)


def written(path, text):
    path.write_text(text)
    return path


def test_a_cache_tells_version_algorithm_and_number_of_scales(tmp_path):
    cache = read_calibration_cache(written(tmp_path / "c", GOOD))
    assert (cache.version, cache.algorithm, cache.scales) == ("8601", "EntropyCalibration2", 3)
    assert cache.content == GOOD.encode()  # given to TensorRT as it is
    assert struct.unpack("!f", bytes.fromhex("3b66eddc"))[0] == pytest.approx(0.0035236, rel=1e-4)


WRONG = {
    "": "it is empty",
    "images: 3b66eddc\n": "no calibration cache: its first line is 'images: 3b66eddc'",
    "TRT-8601-Quantiles\nimages: 3b66eddc\n": "calibration algorithm 'Quantiles'",
    "TRT-8601-EntropyCalibration2\n\n": "it has no scales",
    "TRT-8601-EntropyCalibration2\nimages: 3b66eddc\nraw: 3b66\n": "line 3 is no `tensor: scale`: 'raw: 3b66'",
    "TRT-8601-EntropyCalibration2\nimages 3b66eddc\n": "line 2 is no `tensor: scale`",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_no_cache_is_named_with_its_line(tmp_path, text):
    path = written(tmp_path / "c", text)
    with pytest.raises(ModelLoadError) as caught:
        read_calibration_cache(path)
    assert WRONG[text] in caught.value.what
    assert caught.value.where == str(path)


def test_a_binary_file_is_no_cache(tmp_path):
    (tmp_path / "c").write_bytes(bytes(range(256)))
    with pytest.raises(ModelLoadError, match="no calibration cache"):
        read_calibration_cache(tmp_path / "c")
