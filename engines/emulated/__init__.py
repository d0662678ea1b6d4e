"""`emulated-*`: reduced precision on any CPU, as ONNX graphs rewritten so that ONNX Runtime must round.

ONNX Runtime's CPU provider computes fp16 nodes in fp32 and drops the casts between them, so running an fp16 model there
shows nothing of fp16. These engines put the roundings where a GPU's engine has them:

    emulated-fp16         after every operator; weights rounded too
    emulated-fp16-fused   at the ends of fused kernels only
    emulated-fp16:chunk16 and the sums themselves, over 16 channels each
    emulated-fp16:unfolded, :late-fold
                          BatchNorm apart, as PyTorch has it, or folded in fp16, as OpenVINO does
    emulated-fp16:inside  composite operators (normalisations, softmax) spelled out, every step of them rounded
    emulated-fp16:plan, :plan-half
                          where TensorRT for RTX's compiled plan writes fp16, and with :plan-half inside its kernels too
    emulated-bf16         after every operator
    emulated-tf32         operands of products; :rne (default), :rna, :rz
    emulated-reorder      fp32, only the order of additions; :SEED

What each shows and cannot show: docs/engines.md. Facts they build on: docs/DESIGN.md section 6.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.base import refuse_options
from engines.cache import digest, folder_of, publish, whole, write_text
from engines.cpu import usable_cores
from engines.emulated.graph import fold
from engines.emulated.pair import Pair, Watch
from engines.emulated.recipe import VARIANTS, Recipe, read_recipe, rewrite, rewrite_by_plan
from engines.emulated.selection import groups_of, restore_scopes
from engines.errors import EngineError, EngineOptionError
from engines.export import export_warnings, exported
from engines.inspect.graph import model_sha256
from engines.ort_engine import OrtEngine
from engines.ort_engine import availability as ort_availability
from engines.protocol import Availability, ModelSource
from engines.sealed import file_sha256
from engines.table import TABLE

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = [
    "FILE_OPTIONS",
    "OF_BUILD",
    "availability",
    "availability_by_plan",
    "emulated_graph",
    "groups",
    "open_engine",
    "rewritten_pair",
]

FILE_OPTIONS = ("calibration",)
OF_BUILD = ("target", "calibration", "keep_fp32")  # options of the plan that `:plan` rounds by


def open_engine(
    name: str,
    source: ModelSource,
    *,
    method: str,
    fused: bool = False,
    threads: int | None = None,
    denormals: str = "flush",
    **options: Any,
) -> OrtEngine:
    """Open an emulated engine.

    Args:
        name: with a suffix where the method has variants.
        source: the model.
        method: fp16, bf16, tf32 or reorder; fixed by the name.
        fused: round at the ends of fused kernels only; fixed by the name.
        threads: as of `ort-fp32`.
        denormals: as of `ort-fp32`.
        options: rounding (tf32), chunk (fp16), batchnorm, inside, only and plan (fp16, bf16), seed (reorder); of a plan
            also target, calibration and keep_fp32, as of `trtrtx-*`.

    Raises:
        EngineOptionError, EngineUnavailable, ExportError, ModelLoadError, EngineOutputMissing: as their names say.
    """
    of_build = {key: options.pop(key) for key in OF_BUILD if key in options}
    recipe = read_recipe(name, Recipe(method, fused=fused), options)
    if not recipe.plan:
        refuse_options(name, of_build, ("threads", "denormals", *options))
    model, facts = emulated_graph(source, recipe, of_build)
    return OrtEngine(name, source, model, "all", usable_cores() if threads is None else threads, denormals, facts)


def availability(name: str) -> Availability:
    """Runs wherever ONNX Runtime does; by a plan, where TensorRT for RTX is installed.

    Raises:
        EngineOptionError: no such variant.
    """
    read_recipe(name, Recipe(TABLE[name.partition("@")[0].partition(":")[0]].options["method"]), {})
    return availability_by_plan(name) if name.partition(":")[2] in VARIANTS else ort_availability(name)


def availability_by_plan(name: str) -> Availability:
    """Of an engine that rounds where a compiled plan does: where TensorRT for RTX is installed too."""
    from engines.tensorrt import api, product

    try:
        compiler = api.load(product.RTX)
    except EngineError as error:
        return Availability(name, False, error.what, error.remedy)
    answer = ort_availability(name)
    return Availability(name, answer.available, f"{answer.detail}, by plans of {compiler.title}", answer.remedy)


def groups(source: ModelSource) -> dict[str, tuple[str, ...]]:
    """Blocks of the network -> what to give as `only` to round just these; see `selection.groups_of`.

    Raises:
        ModelLoadError, ExportError: the model does not load, or does not export.
    """
    path = exported(source, "ort")
    model = fold(path, source.plugins)
    restore_scopes(model, path)
    return groups_of(model)


def rewritten_pair(name: str, source: ModelSource, *, method: str, fused: bool = False, **options: Any) -> Pair:
    """The engine's graph before its first rounding and after the last, for looks at single nodes (engines/layers).

    Raises:
        EngineOptionError: the variant moves values to other places, so that no node can be looked at alone.
        EngineUnavailable, ExportError, ModelLoadError: as of `open_engine`.
    """
    given = {key: value for key, value in options.items() if key not in ("threads", "denormals", *OF_BUILD)}
    of_build = {key: options[key] for key in OF_BUILD if key in options}
    recipe = read_recipe(name, Recipe(method, fused=fused), given)
    if recipe.method == "reorder":
        raise EngineOptionError(
            f"{name} permutes channels, and rounds nothing: no node of it has an error of its own",
            where="engine name",
            remedy="name an engine of another precision",
        )
    if recipe.plan:
        return _pair_by_plan(source, recipe, of_build)
    base, watch = exported(source, "ort", optimize=recipe.batchnorm != "unfolded"), Watch()
    model, facts = rewrite(base, recipe, source.plugins, watch.before)
    return watch.after(model, recipe.method, base, {**recipe.facts(), **facts})


def _pair_by_plan(source: ModelSource, recipe: Recipe, of_build: Mapping[str, Any]) -> Pair:
    """The same of the typed graph that a plan was built from, its weights those of the file before it was typed."""
    from engines.registry import compile_plan

    made = compile_plan(f"trtrtx-{recipe.method}", source, **of_build)
    watch = Watch()
    model, facts = rewrite_by_plan(made.model, recipe, list(made.plan.layers), watch.before)
    restored = watch.restore(made.exported)
    return watch.after(model, recipe.method, made.exported, {**recipe.facts(), **facts, "weights_restored": restored})


def emulated_graph(
    source: ModelSource, recipe: Recipe, of_build: Mapping[str, Any] | None = None
) -> tuple[Path, dict[str, Any]]:
    """The rewritten graph as a file, cached by content, and what was done to it.

    Args:
        source: the model.
        recipe: what to emulate.
        of_build: options of the plan that it rounds by, see OF_BUILD.
    """
    if recipe.plan:
        return _graph_by_plan(source, recipe, of_build or {})
    base = exported(source, "ort", optimize=recipe.batchnorm != "unfolded")
    facts: dict[str, Any] = {"base_sha256": model_sha256(base)}
    if heard := export_warnings(base):
        facts["export_warnings"] = heard
    return _kept(source, recipe, facts, lambda: rewrite(base, recipe, source.plugins))


def _graph_by_plan(source: ModelSource, recipe: Recipe, of_build: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """The same with the roundings of the plan that TensorRT for RTX compiles of the model."""
    from engines.registry import compile_plan

    made = compile_plan(f"trtrtx-{recipe.method}", source, **of_build)
    layers = list(made.plan.layers)
    facts = {
        "base_sha256": model_sha256(made.model),
        "layers_sha256": digest({"layers": layers}),
        "plan_built": {key: value for key, value in made.facts.items() if value},
    }
    return _kept(source, recipe, facts, lambda: rewrite_by_plan(made.model, recipe, layers))


def _kept(
    source: ModelSource,
    recipe: Recipe,
    facts: dict[str, Any],
    rewritten: Callable[[], tuple[ir.Model, dict[str, Any]]],
) -> tuple[Path, dict[str, Any]]:
    """A rewritten graph of the cache, made now where it is not there yet; facts say what it was made from."""
    from engines.emulated.graph import save

    key = digest({**facts, **recipe.facts(), "code": _code_digest()})
    folder = folder_of(source.cache, "emulated") / f"{source.name}-{recipe.method}-{key}"
    if not whole(folder):
        model, done = rewritten()
        with publish(folder) as draft:
            save(model, draft / "model.onnx")
            told = {"precision": f"emulated {recipe.method}", **recipe.facts(), **facts, **done}
            write_text(draft / "facts.json", json.dumps(told, indent=1))
    return folder / "model.onnx", json.loads((folder / "facts.json").read_text(encoding="utf-8"))


def _code_digest() -> str:
    """Hash of what rewrites: a graph rewritten by another version of it is rewritten again."""
    here = Path(__file__).parent
    files = [*sorted(here.glob("*.py")), *sorted(here.with_name("plan").glob("*.py"))]
    return digest({f"{path.parent.name}/{path.name}": file_sha256(path) for path in files})
