"""A card's PyTorch module: built by its factory, filled with its weights, its outputs named.

Weights load strictly and as they are: no prefix is stripped, no key is skipped, and pickled code is never run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.base import whole_cause
from engines.dotted import load_dotted, modules_of
from engines.errors import EngineOutputMissing, EngineUnavailable, ModelLoadError
from engines.foreign import outside
from engines.protocol import ModelSource
from trueline._reading import regular

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["build_module", "name_outputs", "read_state", "settle_module", "training_parts"]

SHOWN = 4  # keys named in a message


def build_module(source: ModelSource) -> nn.Module:
    """The network in evaluation mode, on the CPU, in the dtype its factory gives it; raises as `settle_module`."""
    return settle_module(source)[0]


def settle_module(source: ModelSource) -> tuple[nn.Module, tuple[str, ...]]:
    """The network in evaluation mode, and what the factory had left in training mode and computes otherwise there.

    Where the card has no weights the factory must bring its own; what it draws at random is drawn from seed 0.

    Raises:
        EngineUnavailable: the card has no [torch] part.
        ModelLoadError: the factory does not import, fails or gives no module, or the weights do not fit exactly.
    """
    import torch

    if source.factory is None:
        raise EngineUnavailable(
            f"{source.name} has no PyTorch network",
            where="[torch] of its model card",
            remedy="add [torch] with factory and weights, or use an ONNX engine such as ort-fp32",
        )
    factory = load_dotted(source.factory, source.root)
    where = f"factory {source.factory!r} of {source.root}"
    with modules_of(source.root), torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        with outside(
            lambda cause: ModelLoadError(
                f"the factory failed: {cause}",
                where=where,
                remedy=f"make it build with the arguments of [torch] args, {dict(source.factory_args)}",
            )
        ):
            module = factory(**source.factory_args)
    if not isinstance(module, torch.nn.Module):
        raise ModelLoadError(
            f"the factory gave a {type(module).__name__}", where=where, remedy="return a torch.nn.Module"
        )
    if source.weights is not None:
        _fill(module, read_state(source.weights), source.weights)
    changed = tuple(training_parts(module))
    return module.eval().requires_grad_(False), changed


def training_parts(module: nn.Module) -> Iterator[str]:
    """Names and classes of modules in training mode whose own code asks for the mode: BatchNorm, Dropout, a user's."""
    for name, part in module.named_modules():
        if part.training and _asks_for_mode(type(part)):
            yield f"{name or '(network)'} ({type(part).__name__})"


def _asks_for_mode(kind: type) -> bool:
    from torch import nn

    own = (base for base in kind.__mro__ if issubclass(base, nn.Module) and base is not nn.Module)
    codes = (getattr(attribute, "__code__", None) for base in own for attribute in vars(base).values())
    return any("training" in code.co_names for code in codes if code is not None)


def read_state(weights: Path) -> dict[str, Tensor]:
    """The state dict of a file: safetensors by its suffix, else `torch.load(weights_only=True)`.

    Raises:
        ModelLoadError: missing, truncated, not a plain dict of tensors, or it would run pickled code.
    """
    import torch
    from safetensors.torch import load_file

    if not weights.is_file():
        raise ModelLoadError("no such weights file", where=str(weights), remedy="fix [torch] weights in model.toml")
    try:
        regular(weights)
        if weights.suffix == ".safetensors":
            state: Any = load_file(weights)
        else:
            state = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # SafetensorError, UnpicklingError, RuntimeError of the zip reader, EOFError, ...
        raise ModelLoadError(
            f"the weights do not load: {whole_cause(error)}",
            where=str(weights),
            remedy="save model.state_dict() again, as safetensors or with torch.save",
        ) from error
    if not isinstance(state, dict):
        raise ModelLoadError(
            f"a {type(state).__name__} instead of a state dict", where=str(weights), remedy="save model.state_dict()"
        )
    if strange := [key for key, value in state.items() if not isinstance(value, torch.Tensor)]:
        raise ModelLoadError(
            f"{_some(strange)} of its {len(state)} entries hold no tensor",
            where=str(weights),
            remedy="save the state dict alone, for example checkpoint['state_dict']",
        )
    return state


def name_outputs(value: Any, names: Sequence[str], where: str) -> dict[str, Tensor]:
    """Outputs by name: a tensor, a tuple or list in the card's order, or a mapping with (at least) the card's names.

    Raises:
        EngineOutputMissing: another number of outputs than names, a name that is not there, or no tensor.
    """
    import torch

    if isinstance(value, Mapping):
        if absent := [name for name in names if name not in value]:
            raise EngineOutputMissing(
                f"the network has no output {absent[0]!r}",
                where=where,
                remedy=f"it has {[str(key) for key in value]}; name one of them under [[outputs]] in model.toml",
            )
        named = {name: value[name] for name in names}
    else:
        items = [value] if isinstance(value, torch.Tensor) else value
        if not isinstance(items, tuple | list) or len(items) != len(names):
            got = f"{len(items)} outputs" if isinstance(items, tuple | list) else f"a {type(value).__name__}"
            raise EngineOutputMissing(
                f"the network gives {got}, the card names {len(names)}: {list(names)}",
                where=where,
                remedy="name every output under [[outputs]] in model.toml, in the network's order",
            )
        named = dict(zip(names, items, strict=True))
    for name, item in named.items():
        if not isinstance(item, torch.Tensor):
            raise EngineOutputMissing(
                f"output {name!r} is a {type(item).__name__}, not a tensor",
                where=where,
                remedy="make the network return tensors, alone or in one flat tuple, list or dict",
            )
    return named


def _fill(module: nn.Module, state: dict[str, Tensor], weights: Path) -> None:
    """Load the state dict; anything missing, unexpected or of another shape is an error."""
    try:
        answer = module.load_state_dict(state, strict=False)
    except RuntimeError as error:  # shapes that differ; the first line of the message only names the class
        differing = [line.strip() for line in str(error).splitlines() if "size mismatch" in line]
        raise ModelLoadError(
            f"{len(differing)} weights of another shape: {differing[0] if differing else whole_cause(error)}",
            where=str(weights),
            remedy="check [torch] args in model.toml: they must build the network that was trained",
        ) from error
    missing, unexpected = list(answer.missing_keys), list(answer.unexpected_keys)
    if missing or unexpected:
        parts = [f"{_some(keys)} {word}" for keys, word in ((missing, "missing"), (unexpected, "unexpected")) if keys]
        raise ModelLoadError(
            f"the weights do not fit the network: {', '.join(parts)}",
            where=str(weights),
            remedy=_remedy(missing, unexpected),
        )


def _remedy(missing: list[str], unexpected: list[str]) -> str:
    """What to do about keys; a prefix that explains everything is named, never stripped."""
    for longer, shorter, side in ((unexpected, missing, "the file's"), (missing, unexpected, "the network's")):
        if longer and shorter and longer[0].endswith(f".{shorter[0]}"):
            prefix = longer[0][: -len(shorter[0])]
            return f"{side} keys begin with {prefix!r}: save the weights, or build the network, with the same names"
    return "give the weights of this network, or the factory arguments they were trained with"


def _some(keys: Sequence[str]) -> str:
    shown = ", ".join(repr(str(key)) for key in keys[:SHOWN])
    return f"{len(keys)} ({shown}{', ...' if len(keys) > SHOWN else ''})"
