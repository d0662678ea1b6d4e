"""The engine: parts of the graph in ONNX Runtime, products by the arithmetic of tensor cores between them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from engines.base import FrameEngine, whole_cause
from engines.denormals import supported
from engines.errors import EngineCrashed
from engines.inspect.graph import model_sha256
from engines.io_check import check_inputs, check_io
from engines.mma.chain import Arithmetic
from engines.mma.parts import Part, Product, cut
from engines.mma.products import PRODUCTS
from engines.mma.variant import Variant
from engines.ort_engine import denormal_mode, open_session
from engines.protocol import ModelSource, Tensors, TensorSpec
from engines.silent import load_onnxruntime

__all__ = ["MmaEngine"]


class MmaEngine(FrameEngine):
    """A marked graph, run part by part."""

    def __init__(
        self,
        name: str,
        source: ModelSource,
        model: Path,
        variant: Variant,
        threads: int,
        denormals: str,
        facts: Mapping[str, Any],
    ) -> None:
        import numba

        self._mode = denormal_mode(name, denormals)
        self._where = f"{source.name}, engine {name}"
        self._work = cut(model)
        self._inputs = tuple(TensorSpec(*facts) for facts in self._work.inputs)
        check_io(source, self._inputs, list(self._work.outputs), str(model))
        self._outputs = list(source.outputs)
        kinds = sorted({task.kind for task in self._work.tasks if isinstance(task, Product)})
        self._arithmetic = {
            kind: Arithmetic(
                kind, None if kind == "fp32" else variant.step(kind), variant.operands, variant.order, threads
            )
            for kind in kinds
        }
        self._sessions: dict[int, Any] = {
            number: open_session(task.model, level="all", threads=threads, mode=self._mode, plugins=source.plugins)
            for number, task in enumerate(self._work.tasks)
            if isinstance(task, Part)
        }
        provenance = {
            "onnxruntime": load_onnxruntime().__version__,
            "numba": numba.__version__,
            "model": f"{model.parent.name}/{model.name}",
            "model_sha256": model_sha256(model),
            "threads": threads,
            "denormals": denormals,
            "denormals_in_calling_thread": denormals if supported() else "as the first session of the process",
            "device": "cpu",
            **facts,
            **variant.facts(),
            "steps": {
                kind: {"products": a.step.length, "fraction_bits": a.step.fraction_bits}
                for kind, a in self._arithmetic.items()
                if a.step is not None
            },
        }
        super().__init__(name, provenance)

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Run the parts and products in order.

        Raises:
            EngineInputError: an input is missing or does not fit.
            EngineCrashed: a part or a product failed.
        """
        check_inputs(self._inputs, inputs, self._where)
        values: dict[str, NDArray[Any]] = {**self._work.constants, **inputs}
        kept = set(self._work.outputs)
        for number, task in enumerate(self._work.tasks):
            self._do(number, task, values)
            for name in task.inputs:
                if self._work.last.get(name) == number and name not in kept:
                    values.pop(name, None)
        held = {*inputs, *self._work.constants}
        return {name: values[name].copy() if name in held else values[name] for name in self._outputs}

    def close(self) -> None:
        """Drop the sessions."""
        self._sessions.clear()

    def _do(self, number: int, task: Part | Product, values: dict[str, NDArray[Any]]) -> None:
        try:
            if isinstance(task, Product):
                operands = [task.constants.get(name, values.get(name)) for name in task.inputs]
                values[task.output] = PRODUCTS[task.op_type](self._arithmetic[task.kind], task.attributes, *operands)
                return
            with self._mode:
                results = self._sessions[number].run(list(task.outputs), {name: values[name] for name in task.inputs})
            values.update(zip(task.outputs, results, strict=True))
        except Exception as error:
            what = f"{task.op_type} {task.name!r}" if isinstance(task, Product) else f"part {number} in ONNX Runtime"
            raise EngineCrashed(
                f"{what} failed: {whole_cause(error)}",
                where=self._where,
                remedy="run emulated-fp16-fused on this input, and report it with the model",
            ) from error
