"""NVIDIA's two products behind one adapter: TensorRT, which cars have, and TensorRT for RTX, which builds anywhere.

Both have the same API, ONNX parser and code generator. TensorRT builds and times on the GPU that will run the plan;
TensorRT for RTX plans for a named compute capability on any machine, and the RTX GPU's own compiler finishes the plan
when it is loaded. What else differs is which names which version has: `ONLY` of engines/tensorrt/api.py.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RTX", "TENSORRT", "Product", "product_of"]


@dataclass(frozen=True, slots=True)
class Product:
    """One of the two.

    Attributes:
        key: what its engines' names and export targets begin with.
        title: what messages call it.
        modules: its Python bindings; the later ones are what the first re-exports, and all that some wheels have.
        oldest: the first version that the adapter speaks to, (major, minor).
        known: versions that it speaks to, in words.
        install: what to do where it is missing.
        libraries: parts of names of the libraries that the bindings load.
        soname: the library that says its own version; empty where it need not be asked.
        apart: whether plans are built in a process of their own, which needs no GPU.
    """

    key: str
    title: str
    modules: tuple[str, ...]
    oldest: tuple[int, int]
    known: str
    install: str
    libraries: tuple[str, ...]
    soname: str = ""
    apart: bool = False


TENSORRT = Product(
    "trt",
    "TensorRT",
    ("tensorrt", "tensorrt_bindings"),
    (8, 6),
    "TensorRT 8.6, 10.x or 11.x",
    "pip install 'trueline[gpu]', or the car's version: pip install tensorrt==10.13.3.9",
    ("libnv", "libcudart", "libcudnn"),
)
RTX = Product(
    "trtrtx",
    "TensorRT for RTX",
    ("tensorrt_rtx", "tensorrt_rtx_bindings"),
    (1, 4),
    "TensorRT for RTX 1.4 or newer",
    "pip install 'trueline[trt-rtx]' (NVIDIA's own licence, docs/tensorrt.md), bindings and libraries of one version",
    ("libtensorrt", "libcudart"),
    "libtensorrt_rtx.so.1",
    apart=True,
)


def product_of(name: str) -> Product:
    """The product of an engine's name, `trtrtx-fp16@cuda:1`."""
    return RTX if name.startswith(f"{RTX.key}-") else TENSORRT
