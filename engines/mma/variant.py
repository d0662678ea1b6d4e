"""What a name such as `emulated-mma-fp16:hopper-acc16-order3` stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from engines.errors import EngineOptionError
from engines.mma.arithmetic import ARCHITECTURES, DEFAULT_ARCHITECTURE, Step, step_of

__all__ = ["Variant", "read_variant"]

_ORDER = re.compile(r"order(\d+)")


@dataclass(frozen=True, slots=True)
class Variant:
    """Choices within one engine.

    Attributes:
        architecture: a key of ARCHITECTURES.
        accumulator: fp32 or fp16.
        order: seed of the order of K, None for the documented one.
        operands: how fp32 becomes TF32: rz as the tensor core does, rna or rne where software rounds first.
        placement: where results are rounded to be stored: at the ends of `fused` kernels, or after `every` operator.
    """

    architecture: str = DEFAULT_ARCHITECTURE
    accumulator: str = "fp32"
    order: int | None = None
    operands: str = "rz"
    placement: str = "fused"

    def step(self, kind: str) -> Step:
        """The step for operands of a type.

        Raises:
            EngineOptionError: the architecture has none.
        """
        return step_of(self.architecture, kind, half_accumulator=self.accumulator == "fp16")

    def facts(self) -> dict[str, Any]:
        """For provenance."""
        return {key: value for key, value in asdict(self).items() if value is not None}


_VALUES = {
    "architecture": tuple(ARCHITECTURES),
    "accumulator": ("fp32", "fp16"),
    "operands": ("rz", "rna", "rne"),
    "placement": ("fused", "every"),
}
_WORDS = {
    **{word: ("architecture", word) for word in ARCHITECTURES},
    "acc16": ("accumulator", "fp16"),
    "rna": ("operands", "rna"),
    "rne": ("operands", "rne"),
    "rz": ("operands", "rz"),
    "every": ("placement", "every"),
}
_FOREIGN = {"tf32": ("placement",), "fp16": ("operands",), "bf16": ("operands",)}  # choices that a method lacks


def read_variant(name: str, method: str, options: Mapping[str, Any], *, by_plan: bool = False) -> Variant:
    """The variant that a name's suffix and options choose together.

    Args:
        name: of the engine, with its suffix.
        method: fp16, bf16 or tf32.
        options: by the names of Variant's attributes.
        by_plan: a compiled plan places what is stored, so that there is no choice.

    Raises:
        EngineOptionError: a word, option or value that there is not, two that contradict each other, or a type that the
            architecture does not multiply.
    """
    chosen = dict(options)
    for word in filter(None, name.partition(":")[2].split("-")):
        key, value = _read_word(name, word)
        if chosen.setdefault(key, value) != value:
            raise EngineOptionError(
                f"engine {name!r} with {key} {chosen[key]!r} and {value!r}",
                where=f"options of {name}",
                remedy="give one of the two",
            )
    foreign = {*_FOREIGN[method], *(["placement"] if by_plan else [])}
    known = [field.name for field in fields(Variant) if field.name not in foreign]
    for key, value in chosen.items():
        _check(name, key, value, known)
    variant = Variant(**chosen)
    try:
        variant.step(method)
    except EngineOptionError as error:
        raise error.within(f"options of {name}") from None
    return variant


def _read_word(name: str, word: str) -> tuple[str, Any]:
    if match := _ORDER.fullmatch(word):
        return "order", int(match[1])
    if word in _WORDS:
        return _WORDS[word]
    raise EngineOptionError(
        f"engine {name!r} has no variant {word!r}",
        where="engine name",
        remedy=f"join words of {[*_WORDS, 'order7']} by '-', such as ':hopper-acc16'",
    )


def _check(name: str, key: str, value: Any, known: list[str]) -> None:
    if key not in known:
        raise EngineOptionError(
            f"engine {name!r} has no option {key!r}",
            where=f"options of {name}",
            remedy=f"its options are {sorted({'threads', 'denormals', *known})}",
        )
    seed = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if seed if key == "order" else value in _VALUES[key]:
        return
    raise EngineOptionError(
        f"{key} {value!r}",
        where=f"options of {name}",
        remedy="a seed of 0 or more" if key == "order" else f"one of {list(_VALUES[key])}",
    )
