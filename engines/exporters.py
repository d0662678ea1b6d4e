"""The two exporters of PyTorch, called alike: network in, ONNX file out, no chatter, one line where they fail.

What an exporter warns of is kept, since it often names what goes wrong later: a branch that was traced on one picture,
a size that was frozen, an opset that could not be had. What the dynamo exporter names twice (a buffer `mean` and the
result of `mean()`, pytorch #168211) gets names of its own before the file is written, where each value still is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.dotted import modules_of
from engines.errors import ExportError
from engines.exporter_log import cause_of, listening
from engines.protocol import ExportTarget, ModelSource, TensorSpec
from engines.torch_model import name_outputs

if TYPE_CHECKING:
    import torch

__all__ = ["OLDEST_DYNAMO_OPSET", "example_input", "exporter_for", "run_exporter"]

OLDEST_DYNAMO_OPSET = 18
PROTOBUF_LIMIT_BYTES = 1_900_000_000  # above it weights go into a file of their own
DYNAMIC_BATCH, DYNAMIC_SIZE = 2, 64  # example sizes of dynamic dimensions; 0 and 1 would be taken for constants


def exporter_for(how: ExportTarget) -> str:
    """`dynamo` or `legacy`; an opset the dynamo exporter cannot give means the legacy one."""
    old = how.opset is not None and how.opset < OLDEST_DYNAMO_OPSET
    return "legacy" if old else how.exporter


def run_exporter(
    module: torch.nn.Module, source: ModelSource, how: ExportTarget, optimize: bool, path: Path
) -> tuple[str, ...]:
    """Export a module with the card's names and shapes.

    Returns:
        What the exporter warned of, one line each, the first `SHOWN`.

    Raises:
        ExportError: the network does not run on zeros of the card's shapes, or the exporter failed.
        EngineOutputMissing: the network's outputs are not those of the card.
    """
    import torch

    with modules_of(source.root), torch.inference_mode(False), torch.no_grad():
        args = tuple(example_input(spec) for spec in source.inputs)
        flat = _flat(module, source, args)
        settings: dict[str, Any] = {
            "input_names": [spec.name for spec in source.inputs],
            "output_names": list(source.outputs),
            "opset_version": how.opset,
            "verbose": False,
        }
        try:
            with listening(source.root) as heard:
                if exporter_for(how) == "legacy":
                    torch.onnx.export(flat, args, str(path), **settings, **_legacy(source, optimize))
                else:
                    settings |= _dynamo(source, optimize, variadic=flat is not module)
                    _save(torch.onnx.export(flat, args, None, **settings), path, large=_large(module))
        except Exception as error:
            raise ExportError(
                f"the {exporter_for(how)} exporter failed: {cause_of(error, source.root)}",
                where=f"{source.name}, factory {source.factory!r}",
                remedy="choose the other exporter or another opset under [export] in model.toml, or change the network",
            ) from error
    return tuple(heard)


def _save(program: Any, path: Path, large: bool) -> None:
    """Write the dynamo exporter's model with names that are unique."""
    from onnx_ir.passes.common import NameFixPass

    NameFixPass()(program.model)
    program.save(str(path), external_data=large)


def _dynamo(source: ModelSource, optimize: bool, variadic: bool) -> dict[str, Any]:
    dynamic = tuple(_dynamic_axes(spec) or None for spec in source.inputs)
    shapes = ((dynamic,) if variadic else dynamic) if any(dynamic) else None
    return {"dynamo": True, "optimize": optimize, "dynamic_shapes": shapes}


def _legacy(source: ModelSource, optimize: bool) -> dict[str, Any]:
    import torch

    mode = torch.onnx.TrainingMode
    return {
        "dynamo": False,
        "do_constant_folding": optimize,
        "training": mode.EVAL if optimize else mode.PRESERVE,  # EVAL folds BatchNorm
        "dynamic_axes": {spec.name: axes for spec in source.inputs if (axes := _dynamic_axes(spec))},
    }


def _flat(module: torch.nn.Module, source: ModelSource, args: tuple[torch.Tensor, ...]) -> torch.nn.Module:
    """A module that returns the card's outputs as a tuple: the network itself where it already does.

    An output that is the input itself would make the dynamo exporter rename that input, so it is cloned.
    """
    import torch

    where = f"{source.name}, factory {source.factory!r}"
    try:
        value = module(*args)
    except Exception as error:
        raise ExportError(
            f"the network fails on zeros of the card's shapes: {cause_of(error, source.root)}",
            where=where,
            remedy="give every input under [[inputs]] in model.toml the shape and dtype that the network takes",
        ) from error
    named = name_outputs(value, source.outputs, where)
    passes_through = any(tensor is arg for tensor in named.values() for arg in args)
    if isinstance(value, torch.Tensor | tuple) and not passes_through:
        return module

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            outputs = name_outputs(self.network(*inputs), source.outputs, where)
            return tuple(t.clone() if any(t is i for i in inputs) else t for t in outputs.values())

    return Flat().eval()


def example_input(spec: TensorSpec) -> torch.Tensor:
    """Zeros of an input's shape, dynamic dimensions of a size that suits most networks."""
    import torch

    sizes = [
        size if isinstance(size, int) else (DYNAMIC_BATCH if axis == 0 else DYNAMIC_SIZE)
        for axis, size in enumerate(spec.shape)
    ]
    return torch.zeros(sizes, dtype=getattr(torch, spec.dtype))


def _dynamic_axes(spec: TensorSpec) -> dict[int, str]:
    return {axis: size for axis, size in enumerate(spec.shape) if isinstance(size, str)}


def _large(module: torch.nn.Module) -> bool:
    size_bytes: int = sum(t.numel() * t.element_size() for t in module.state_dict().values())
    return size_bytes > PROTOBUF_LIMIT_BYTES
