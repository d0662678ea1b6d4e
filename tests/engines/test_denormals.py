import threading

import numpy as np
import pytest

from engines.denormals import DenormalMode, flushed, supported

pytestmark = pytest.mark.skipif(not supported(), reason="no glibc on x86-64 or arm64")


def test_the_mode_holds_inside_and_ends_outside():
    flush, keep = DenormalMode(flush=True), DenormalMode(flush=False)
    assert not flushed()
    with flush:
        assert flushed()
        with keep:
            assert not flushed()
        assert flushed()
    assert not flushed()


def test_an_exception_restores_the_mode():
    with pytest.raises(KeyError), DenormalMode(flush=True):
        raise KeyError
    assert not flushed()


def test_normal_numbers_are_untouched():
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    plain = values * values + values
    with DenormalMode(flush=True):
        np.testing.assert_array_equal(values * values + values, plain)


def test_other_threads_keep_theirs():
    seen = []
    with DenormalMode(flush=True):
        thread = threading.Thread(target=lambda: DenormalMode(flush=False).__enter__())
        thread.start()
        thread.join()
        seen.append(flushed())
    assert seen == [True]
