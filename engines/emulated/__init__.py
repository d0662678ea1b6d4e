"""`emulated-*`: reduced precision on any CPU, as ONNX graphs rewritten so that ONNX Runtime must round.

ONNX Runtime's CPU provider computes fp16 nodes in fp32 and drops the casts between them, so running an fp16 model there
shows nothing of fp16. These engines put the roundings where a GPU's engine has them:

    emulated-fp16         after every operator; weights rounded too
    emulated-fp16-fused   at the ends of fused kernels only
    emulated-fp16:chunk16 and the sums themselves, over 16 channels each
    emulated-fp16:unfolded, :late-fold
                          BatchNorm apart, as PyTorch has it, or folded in fp16, as OpenVINO does
    emulated-fp16:inside  composite operators (normalisations, softmax) spelled out, every step of them rounded
    emulated-bf16         after every operator
    emulated-tf32         operands of products; :rne (default), :rna, :rz
    emulated-reorder      fp32, only the order of additions; :SEED

What each shows and cannot show: docs/engines.md. Facts they build on: docs/DESIGN.md section 6.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engines.cache import digest, folder_of, publish, whole, write_text
from engines.cpu import physical_cores
from engines.emulated.graph import fold
from engines.emulated.recipe import Recipe, read_recipe, rewrite
from engines.emulated.selection import groups_of, restore_scopes
from engines.export import export_warnings, exported
from engines.inspect.graph import model_sha256
from engines.ort_engine import OrtEngine
from engines.ort_engine import availability as ort_availability
from engines.protocol import Availability, ModelSource
from engines.sealed import file_sha256

__all__ = ["availability", "emulated_graph", "groups", "open_engine"]


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
        options: rounding (tf32), chunk (fp16), batchnorm, inside and only (fp16, bf16), seed (reorder).

    Raises:
        EngineOptionError, EngineUnavailable, ExportError, ModelLoadError, EngineOutputMissing: as their names say.
    """
    recipe = read_recipe(name, Recipe(method, fused=fused), options)
    model, facts = emulated_graph(source, recipe)
    return OrtEngine(name, source, model, "all", physical_cores() if threads is None else threads, denormals, facts)


def availability(name: str) -> Availability:
    """Runs wherever ONNX Runtime does."""
    return ort_availability(name)


def groups(source: ModelSource) -> dict[str, tuple[str, ...]]:
    """Blocks of the network -> what to give as `only` to round just these; see `selection.groups_of`.

    Raises:
        ModelLoadError, ExportError: the model does not load, or does not export.
    """
    path = exported(source, "ort")
    model = fold(path, source.plugins)
    restore_scopes(model, path)
    return groups_of(model)


def emulated_graph(source: ModelSource, recipe: Recipe) -> tuple[Path, dict[str, Any]]:
    """The rewritten graph as a file, cached by content, and what was done to it."""
    from engines.emulated.graph import save

    base = exported(source, "ort", optimize=recipe.batchnorm != "unfolded")
    base_sha256 = model_sha256(base)
    key = digest({"base": base_sha256, **recipe.facts(), "code": _code_digest()})
    folder = folder_of(source.cache, "emulated") / f"{source.name}-{recipe.method}-{key}"
    if not whole(folder):
        model, facts = rewrite(base, recipe, source.plugins)
        with publish(folder) as draft:
            save(model, draft / "model.onnx")
            facts = {"precision": f"emulated {recipe.method}", **recipe.facts(), "base_sha256": base_sha256, **facts}
            if heard := export_warnings(base):
                facts["export_warnings"] = heard
            write_text(draft / "facts.json", json.dumps(facts, indent=1))
    return folder / "model.onnx", json.loads((folder / "facts.json").read_text(encoding="utf-8"))


def _code_digest() -> str:
    """Hash of this package: a graph rewritten by another version of it is rewritten again."""
    return digest({path.name: file_sha256(path) for path in sorted(Path(__file__).parent.glob("*.py"))})
