import numpy as np
import pytest
import torch

from engines.errors import EngineOptionError
from engines.tensorrt.device import CudaDevice, missing_gpu, open_device


@pytest.fixture
def host():
    """CudaDevice's copies without CUDA."""
    device = CudaDevice.__new__(CudaDevice)
    device._device = torch.device("cpu")
    return device


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int8", "int32", "int64", "bool"])
def test_copies_up_and_down_are_exact_and_new(host, dtype):
    array = (np.random.default_rng(0).standard_normal((2, 3)) * 50).astype(dtype)
    memory = host.empty((2, 3), getattr(torch, dtype))
    host.upload(array, memory)
    down = host.download(memory, dtype)
    np.testing.assert_array_equal(down, array)
    assert down.dtype == array.dtype
    memory.zero_()
    np.testing.assert_array_equal(down, array)


def test_bfloat16_is_rounded_on_the_way_up_and_exact_on_the_way_down(host):
    array = np.array([1.0, 1.00390625, 3e38, -0.0, np.inf], np.float32)
    memory = host.empty((5,), torch.bfloat16)
    host.upload(array, memory)
    assert host.download(memory, "float32").tolist() == torch.from_numpy(array).bfloat16().float().tolist()


def test_strided_and_read_only_arrays_are_uploaded_as_they_are(host):
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    array.flags.writeable = False
    memory = host.empty((3, 2), torch.float32)
    host.upload(array, memory)
    np.testing.assert_array_equal(memory.numpy(), array)


def test_a_device_that_is_no_gpu_is_named():
    with pytest.raises(EngineOptionError, match="no device 'cpu'"):
        open_device("trt-fp16@cpu")


def test_a_missing_gpu_says_whether_pytorch_or_the_machine_lacks_it():
    missing = missing_gpu()
    if torch.cuda.is_available():
        assert missing is None
    elif torch.version.cuda is None:
        assert "is built without CUDA" in missing.what
    else:
        assert "finds none" in missing.what


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU: CudaDevice itself has not run here")
def test_a_gpu_copies_exactly():
    device = open_device("trt-fp16")
    array = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    with device.active():
        memory = device.empty((2, 3), torch.float32)
        device.upload(array, memory)
        np.testing.assert_array_equal(device.download(memory, "float32"), array)
        device.synchronize()
    assert device.stream_handle
