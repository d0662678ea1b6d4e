"""From an engine's name to a rewritten graph: what each method does, in order."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.emulated.batchnorm import settle_batchnorms
from engines.emulated.chunks import accumulate_in_chunks
from engines.emulated.formats import FORMATS, TF32_ROUNDINGS, Format
from engines.emulated.graph import array_of, at_opset, fold, load, nodes_of, round_values, rounded_constant
from engines.emulated.operands import round_operands
from engines.emulated.ops import is_shape_slot
from engines.emulated.placement import demand_everywhere, plan_roundings
from engines.emulated.reorder import permute_channels
from engines.emulated.selection import Chosen, choose, restore_scopes
from engines.emulated.tensor_cores import kinds_of_products, mark_products
from engines.emulated.typed import half_products, is_typed, lower_types
from engines.errors import EngineOptionError, ExportError
from engines.inspect.composites import has_composites, spell_out
from engines.inspect.definitions import COMPOSITES, OPSET, WITH_PRODUCTS

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["VARIANTS", "Recipe", "read_recipe", "rewrite", "rewrite_by_plan"]

_USED = {
    "fp16": ("fused", "chunk", "batchnorm", "inside"),
    "bf16": ("fused", "batchnorm", "inside"),
    "tf32": ("rounding",),
    "reorder": ("seed",),
}
_CHOOSING = ("fp16", "bf16")  # methods that know `only`
VARIANTS = ("plan", "plan-half")  # round where a compiled plan does; and inside its kernels
BATCHNORMS = ("folded", "late-fold", "unfolded")  # how BatchNorm meets the format
SLICE_OPSET = 10  # Slice with its bounds as inputs, for chunks


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to emulate.

    Attributes:
        method: fp16, bf16, tf32 or reorder.
        fused: round at the ends of fused kernels only (fp16, bf16).
        chunk: channels per rounded partial sum, 0 for fp32 accumulation (fp16).
        batchnorm: `folded` in fp32 before anything is rounded; `late-fold`, its scale and shift computed in the format
            from rounded parameters; `unfolded`, apart and by its rounded parameters (fp16, bf16).
        inside: composite operators (normalisations, softmax, ...) are spelled out, and every step is rounded; otherwise
            they compute in fp32 inside and are rounded once, at the end (fp16, bf16).
        rounding: rne, rna or rz (tf32).
        seed: of the permutation (reorder).
        only: nodes, modules and inputs that are rounded, all others stay fp32; None for everything (fp16, bf16).
        marked: products are marked for the arithmetic of tensor cores instead of left to ONNX Runtime, and TF32's
            operands are rounded there (fp16, bf16, tf32).
        plan: `plan` or `plan-half`, round where a compiled plan does; empty: by the rules of `placement` (fp16, bf16).
    """

    method: str
    fused: bool = False
    chunk: int = 0
    batchnorm: str = "folded"
    inside: bool = False
    rounding: str = "rne"
    seed: int = 0
    only: tuple[str, ...] | None = None
    marked: bool = False
    plan: str = ""

    def facts(self) -> dict[str, Any]:
        """The settings that this method reads, for provenance and cache keys."""
        chosen = {} if self.only is None else {"only": list(self.only)}
        more = {"marked": True} if self.marked else {}
        if self.plan:
            return {"method": self.method, "plan": self.plan, **more}
        return {"method": self.method, **{key: asdict(self)[key] for key in _USED[self.method]}, **chosen, **more}


def read_recipe(name: str, recipe: Recipe, options: Mapping[str, Any]) -> Recipe:
    """Refine a recipe by the name's suffix and by options.

    Suffixes: `emulated-tf32:rz`, `emulated-fp16:chunk16`, `:unfolded`, `:inside`, `emulated-reorder:3`.

    Raises:
        EngineOptionError: a suffix or a value that the method does not have.
    """
    given = dict(options)
    if suffix := name.partition(":")[2]:
        key, value = _read_suffix(name, recipe.method, suffix)
        if given.get(key, value) != value:
            raise EngineOptionError(
                f"engine {name!r} with {key}={given[key]!r}", where=f"options of {name}", remedy="give one of the two"
            )
        given[key] = value
    own = {*_USED[recipe.method], *(["only", "plan"] if recipe.method in _CHOOSING else [])} - {"fused"}
    if unknown := sorted(given.keys() - own):
        raise EngineOptionError(
            f"engine {name!r} has no option {unknown[0]!r}",
            where=f"options of {name}",
            remedy=f"its options are {sorted({'threads', 'denormals'} | own)}",
        )
    if "only" in given:
        given["only"] = _read_only(name, given["only"])
    refined = replace(recipe, **given)
    numbers = (refined.chunk, refined.seed)
    whole = all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers)
    known = refined.rounding in TF32_ROUNDINGS and refined.batchnorm in BATCHNORMS and isinstance(refined.inside, bool)
    plain = Recipe(refined.method, marked=refined.marked, plan=refined.plan)
    if refined.plan and (refined != plain or refined.plan not in VARIANTS):
        raise EngineOptionError(
            f"engine {name!r} takes every rounding from the plan",
            where=f"options of {name}",
            remedy=f"plan in {VARIANTS}; leave out the options of other placements, and -fused",
        )
    if not known or not whole:
        raise EngineOptionError(
            f"{given}",
            where=f"options of {name}",
            remedy=f"rounding in {TF32_ROUNDINGS}, batchnorm in {BATCHNORMS}, inside or not, chunk and seed 0 or more",
        )
    return refined


def rewrite(
    path: Path, recipe: Recipe, plugins: tuple[Path, ...] = (), before: Callable[[ir.Model], None] | None = None
) -> tuple[ir.Model, dict[str, Any]]:
    """The graph that computes what the recipe emulates, and what was done to it.

    A typed graph gets the roundings that its types demand from `fp16` and `bf16`, and no others; `tf32` and `reorder`
    change what ONNX Runtime makes of it, where most types are gone, so that they differ from `ort-fp32` by one factor.
    An fp32 graph is folded first, as runtimes do before they lower precision, unless the recipe says `unfolded`.

    Args:
        path: ONNX file.
        recipe: what to emulate.
        plugins: libraries with custom ops.
        before: shown the graph before its first rounding; it may name nodes and values. Every rounding is then at the
            node that makes the number, which changes no bit.

    Raises:
        ModelLoadError, ExportError: the model does not load or cannot be rewritten.
    """
    form = _form(recipe)
    model = load(path)
    typed = is_typed(model)
    if typed and recipe.only is not None:
        raise EngineOptionError(
            "a graph with fp16 or bf16 tensors says itself what is rounded",
            where=f"{path.name}, option only",
            remedy="give the fp32 graph, or leave `only` out",
        )
    halves = half_products(model) if typed else frozenset()
    if typed and recipe.method not in _CHOOSING:
        model = fold(path, plugins)
    if not typed and form is not None:
        model = _prepared(path, model, recipe.batchnorm, form, plugins)
    if form is not None and not (recipe.marked and recipe.method == "tf32"):
        model = at_opset(model, max(form.opset, SLICE_OPSET if recipe.chunk else 1), f"{form.name} rounding")
    model, composites = _with_definitions(model, recipe)
    chosen = None
    if recipe.only is not None:
        restore_scopes(model, path)
        chosen = choose(model, recipe.only)
    demand = lower_types(model) if typed else {}
    facts: dict[str, Any] = {"typed_graph": typed}
    if composites:
        facts["spelled_out"] = _spell_out(model, demand, chosen, composites)
    if before is not None:
        before(model)
    if recipe.method == "reorder":
        facts["products_reordered"] = permute_channels(model, recipe.seed)
    elif recipe.method == "tf32" and not recipe.marked:
        assert form is not None
        facts["values_rounded"] = round_operands(model, form, demand, halves)
    elif recipe.method in _CHOOSING and not typed:
        assert form is not None
        demand = demand_everywhere(model, nodes_of(model), form, chosen)
    kinds = kinds_of_products(model, demand, halves, tf32=recipe.method == "tf32") if recipe.marked else {}
    if demand:
        operands = facts.get("values_rounded", 0)
        facts |= _round_demanded(model, demand, chosen, fused=recipe.fused, early=before is not None)
        facts["values_rounded"] += operands
    if recipe.chunk and form is not None:
        facts["products_in_chunks"] = accumulate_in_chunks(model, form, recipe.chunk, chosen)
    if recipe.marked:
        facts |= mark_products(model, kinds)
    return model, facts


def rewrite_by_plan(
    path: Path,
    recipe: Recipe,
    layers: Sequence[str],
    before: Callable[[ir.Model, Mapping[ir.Node, str]], None] | None = None,
) -> tuple[ir.Model, dict[str, Any]]:
    """The typed graph of a plan, with the roundings of that plan, and what was done to it.

    Args:
        path: the typed graph.
        recipe: what to emulate.
        layers: texts of the plan.
        before: shown the graph before its first rounding, and the kernel of every node; it may name nodes and values.

    Raises:
        ModelLoadError, ExportError: the model does not load or cannot be rewritten.
    """
    from engines.emulated.by_plan import demand_by_plan

    form = FORMATS[recipe.method]
    model = at_opset(load(path), form.opset, f"{form.name} rounding")
    placed = demand_by_plan(model, layers, inside=recipe.plan == "plan-half")
    kinds = kinds_of_products(model, placed.typed, frozenset(), tf32=False) if recipe.marked else {}
    if before is not None:
        before(model, placed.kernels)
    facts = {**placed.facts, **_round_demanded(model, placed.rounded, None, fused=False, early=before is not None)}
    return model, {**facts, **(mark_products(model, kinds) if recipe.marked else {})}


def _prepared(path: Path, model: ir.Model, batchnorm: str, form: Format, plugins: tuple[Path, ...]) -> ir.Model:
    """The fp32 graph with its constants and BatchNorms as the recipe wants them before anything is rounded."""
    if batchnorm == "folded":
        model = fold(path, plugins)
        settle_batchnorms(model)
    elif batchnorm == "late-fold":
        settle_batchnorms(model, form)
    return model


def _with_definitions(model: ir.Model, recipe: Recipe) -> tuple[ir.Model, frozenset[str]]:
    """The model at an opset that has definitions, and the operators to spell out.

    TF32 and the order of additions reach products inside operators; where the opset cannot be had, they do not.
    """
    whole = recipe.method in _CHOOSING and not recipe.marked
    ops = COMPOSITES if recipe.inside else frozenset() if whole else WITH_PRODUCTS
    if not has_composites(model, ops):
        return model, ops if recipe.inside else frozenset()
    try:
        return at_opset(model, OPSET, "spelling out composite operators"), ops
    except ExportError:
        if recipe.inside:
            raise
        return model, frozenset()


def _spell_out(model: ir.Model, demand: dict[ir.Value, Format], chosen: Chosen | None, ops: Container[str]) -> int:
    """Spell composite operators out; their steps are chosen, and want a format, where the operator did."""
    import onnx_ir as ir

    done = spell_out(model, ops)
    for spelled in done:
        if chosen is not None and spelled.node in chosen:
            chosen.update(spelled.steps)
        forms = [demand.pop(old) for old in spelled.outputs if old in demand]
        for step in spelled.steps if forms else ():
            constants = [v for i, v in enumerate(step.inputs) if array_of(v) is not None and not is_shape_slot(step, i)]
            floats = [v for v in (*step.outputs, *constants) if v is not None and v.dtype == ir.DataType.FLOAT]
            demand.update(dict.fromkeys(floats, forms[0]))
    return len(done)


def _form(recipe: Recipe) -> Format | None:
    """The format of a method that has one."""
    return FORMATS.get(f"tf32-{recipe.rounding}" if recipe.method == "tf32" else recipe.method)


def _read_suffix(name: str, method: str, suffix: str) -> tuple[str, Any]:
    """The option that a name's suffix stands for."""
    number = suffix.removeprefix("chunk")
    if method == "tf32" and suffix in TF32_ROUNDINGS:
        return "rounding", suffix
    if method == "fp16" and suffix.startswith("chunk") and number.isdecimal() and int(number) > 0:
        return "chunk", int(number)
    if method in _CHOOSING and suffix in BATCHNORMS:
        return "batchnorm", suffix
    if method in _CHOOSING and suffix == "inside":
        return "inside", True
    if method in _CHOOSING and suffix in VARIANTS:
        return "plan", suffix
    if method == "reorder" and suffix.isdecimal():
        return "seed", int(suffix)
    known = {
        "tf32": "one of ':rne', ':rna', ':rz'",
        "fp16": "':chunk16', ':inside', ':late-fold', ':unfolded', ':plan' or ':plan-half'",
        "bf16": "':inside', ':late-fold', ':unfolded', ':plan' or ':plan-half'",
        "reorder": "':SEED', a number",
    }
    raise EngineOptionError(
        f"engine {name!r} has no variant {suffix!r}",
        where="engine name",
        remedy=f"write {known[method]}, or no suffix" if method in known else "leave the suffix out",
    )


def _read_only(name: str, value: Any) -> tuple[str, ...]:
    """Names, sorted, each once."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise EngineOptionError(
            f"only={value!r}", where=f"options of {name}", remedy="give a list of nodes, modules or inputs"
        )
    return tuple(sorted(set(value)))


def _round_demanded(
    model: ir.Model, demand: dict[ir.Value, Format], chosen: Chosen | None, *, fused: bool, early: bool = False
) -> dict[str, Any]:
    """Round constants once and for all, and values while it runs."""
    import onnx_ir as ir

    plan = plan_roundings(model, nodes_of(model), demand, fused=fused, early=early)
    constants: set[ir.Value] = set()
    for node in nodes_of(model):
        if chosen is not None and node not in chosen:
            continue
        for index, value in enumerate(node.inputs):
            if value is not None and value in demand and array_of(value) is not None and not is_shape_slot(node, index):
                node.replace_input_with(index, rounded_constant(value, demand[value]))
                constants.add(value)
    for value in model.graph.outputs:
        if chosen is None and value in demand and (array := array_of(value)) is not None:
            value.const_value = ir.tensor(demand[value].array(array), name=value.name)
    round_values(model, plan)
    return {"values_rounded": len(plan), **_losses(constants, demand)}


def _losses(constants: set[ir.Value], demand: Mapping[ir.Value, Format]) -> dict[str, int]:
    """How many weights became infinite, and how many that were not zero became zero."""
    overflowed = vanished = count = 0
    for value in constants:
        array = array_of(value)
        assert array is not None
        rounded = demand[value].array(array)
        count += array.size
        overflowed += int((np.isinf(rounded) & np.isfinite(array)).sum())
        vanished += int(((rounded == 0) & (array != 0)).sum())
    return {"weights": count, "weights_overflowed": overflowed, "weights_vanished": vanished}
