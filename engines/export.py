"""PyTorch to ONNX, cached by content.

The dynamo exporter is the default; a target that asks for an opset below 18 gets the legacy one, because the dynamo
exporter gives 18 or more whatever is asked. Both fold BatchNorm into convolutions when they optimise, so the lowest
export rung asks for `optimize=False`: then export is export and nothing else. What came out is checked: the opset, the
names of inputs and outputs.

An export is found again by the hash of weights, settings, versions and the source files that its factory imported; the
list of those files is remembered, so that a hit needs neither PyTorch nor the factory.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import exporters
from engines.base import whole_cause
from engines.cache import digest, folder_of, publish, whole, write_text
from engines.dotted import source_files
from engines.errors import EngineUnavailable, ExportError, ModelLoadError
from engines.exporters import OLDEST_DYNAMO_OPSET, exporter_for, run_exporter
from engines.inspect.graph import check_external_data, model_sha256
from engines.io_check import check_io, onnx_io
from engines.protocol import ExportTarget, ModelSource
from engines.sealed import file_sha256
from trueline._drafts import replacing

if TYPE_CHECKING:
    import torch

__all__ = ["export_model", "export_warnings", "exported", "inlined"]

TOOLS = ("torch", "onnx", "onnxscript", "onnx_ir")
MODEL, RECORD = "model.onnx", "export.json"  # of an export's folder


def exported(source: ModelSource, target: str = "default", *, optimize: bool = True) -> Path:
    """The model as an ONNX file: the card's own where it has one, else exported from PyTorch and cached.

    Args:
        source: the model.
        target: whose exporter and opset to use, a key of `source.export`; an unknown one means `default`.
        optimize: let the exporter fold and fuse; a card's own file is used as it is.

    Raises:
        ExportError: the exporter failed, or gave another opset or other names than asked for.
        ModelLoadError: the PyTorch module cannot be built; the card's ONNX file does not read, or names weights outside
            its folder.
        EngineUnavailable: the card has no model, or PyTorch is missing.
    """
    if source.onnx is not None:
        check_external_data(source.onnx)
        return source.onnx
    if source.factory is None:
        raise EngineUnavailable(
            f"{source.name} has neither an ONNX file nor a PyTorch network",
            where="its model card",
            remedy="add [onnx] or [torch] to model.toml",
        )
    how = source.export.get(target) or source.export.get("default") or ExportTarget()
    folder = folder_of(source.cache, "export")
    settings, root = _settings(source, how, optimize), source.root.resolve()
    manifest = folder / f"{source.name}-{digest({**settings, 'root': str(root)})}.sources.json"
    hit = _remembered(manifest, settings, folder / source.name, root)
    return hit or _export_into(folder, manifest, settings, source, how, optimize)


def inlined(path: Path, cache: Path) -> Path:
    """The same model without local functions, for runtimes that know none; a file without any is given back as it is.

    Raises:
        ModelLoadError: its functions do not resolve.
    """
    import onnx
    from onnx.inliner import inline_local_functions

    if not onnx.load(path, load_external_data=False).functions:
        return path
    folder = folder_of(cache, "inlined") / f"{path.stem}-{digest({'model': model_sha256(path)})}"
    if not whole(folder):
        try:
            flat = inline_local_functions(onnx.load(path))
        except Exception as error:
            raise ModelLoadError(
                f"its local functions cannot be inlined: {whole_cause(error)}",
                where=str(path),
                remedy="check the file with onnx.checker.check_model",
            ) from error
        with publish(folder) as draft:
            large = _has_external_data(path)
            onnx.save(flat, draft / MODEL, save_as_external_data=large, location=f"{MODEL}.data" if large else None)
    return folder / MODEL


def export_warnings(path: Path) -> list[str]:
    """What the exporter warned of when it made this file; nothing for a file that was not exported here."""
    try:
        record = json.loads((path.parent / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return list(record.get("warnings", [])) if isinstance(record, dict) and path.name == MODEL else []


def export_model(source: ModelSource, out: Path, target: str = "default") -> Path:
    """Write the optimised export for a target to `out`, in one file, and return it.

    Raises:
        ExportError: as `exported`, or `out` cannot be written.
    """
    import onnx

    path = exported(source, target, optimize=True)
    out = Path(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as draft:
            if _has_external_data(path):
                onnx.save(onnx.load(path), draft, save_as_external_data=True, location=f"{out.name}.data")
            else:
                shutil.copyfile(path, draft)
    except OSError as error:
        raise ExportError(
            f"cannot write: {error.strerror}", where=str(out), remedy="give a path in a writable folder"
        ) from error
    return out


def _settings(source: ModelSource, how: ExportTarget, optimize: bool) -> dict[str, Any]:
    """Everything but source code that decides what an export looks like."""
    return {
        "factory": source.factory,
        "args": dict(source.factory_args),
        "weights": file_sha256(source.weights) if source.weights and source.weights.is_file() else None,
        "inputs": [asdict(spec) for spec in source.inputs],
        "outputs": list(source.outputs),
        "exporter": exporter_for(how),
        "opset": how.opset,
        "optimize": optimize,
        "versions": {tool: _version(tool) for tool in TOOLS},
        "exporting": file_sha256(Path(exporters.__file__)),
    }


def _version(tool: str) -> str | None:
    try:
        return version(tool)
    except PackageNotFoundError:
        return None


def _remembered(manifest: Path, settings: dict[str, Any], stem: Path, root: Path) -> Path | None:
    """The cached export, if its source files are the same; never where the network draws its own weights."""
    if settings["weights"] is None:
        return None
    try:
        sources = [Path(text) for text in json.loads(manifest.read_text(encoding="utf-8"))]
        path = _place(stem, settings, sources, root)
    except (OSError, ValueError):
        return None
    return path if whole(path.parent) else None


def _place(stem: Path, settings: dict[str, Any], sources: list[Path], root: Path, weights: str | None = None) -> Path:
    """Where the export of exactly this code and these settings lies, wherever the card's folder is."""
    code = {str(path.relative_to(root) if path.is_relative_to(root) else path): file_sha256(path) for path in sources}
    return stem.with_name(f"{stem.name}-{digest({**settings, 'code': code, 'state': weights})}") / MODEL


def _export_into(
    folder: Path, manifest: Path, settings: dict[str, Any], source: ModelSource, how: ExportTarget, optimize: bool
) -> Path:
    """Build, export, check and publish."""
    from engines.torch_model import build_module

    assert source.factory is not None
    module = build_module(source)
    sources = list(source_files(source.factory.partition(":")[0], source.root))
    drawn = _state_digest(module) if settings["weights"] is None else None
    path = _place(folder / source.name, settings, sources, source.root.resolve(), drawn)
    if not whole(path.parent):
        with publish(path.parent) as draft:
            heard = run_exporter(module, source, how, optimize, draft / MODEL)
            _check(source, how, draft / MODEL)
            record = {**settings, "warnings": list(heard)}
            write_text(draft / RECORD, json.dumps(record, indent=1, default=repr))
    write_text(manifest, json.dumps([str(file) for file in sources]))
    return path


def _check(source: ModelSource, how: ExportTarget, path: Path) -> None:
    """A valid model of the opset that was asked for, with the card's inputs and outputs."""
    import onnx

    try:
        onnx.checker.check_model(str(path))
    except Exception as error:
        raise ExportError(
            f"the {exporter_for(how)} exporter wrote an invalid model: {whole_cause(error)}",
            where=f"{source.name}, factory {source.factory!r}",
            remedy="choose the other exporter or another opset under [export] in model.toml",
        ) from error
    got = next(entry.version for entry in onnx.load(path, load_external_data=False).opset_import if not entry.domain)
    if how.opset is not None and got != how.opset:
        raise ExportError(
            f"asked the {exporter_for(how)} exporter for opset {how.opset}, got {got}",
            where=f"{source.name}, [export] of its model card",
            remedy=f"ask for opset {got}, or for less than {OLDEST_DYNAMO_OPSET} to get the legacy exporter",
        )
    inputs, outputs = onnx_io(path)
    check_io(source, inputs, [spec.name for spec in outputs], f"export to opset {got}")


def _state_digest(module: torch.nn.Module) -> str:
    """Hash of parameters and buffers."""
    import torch

    state = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        state.update(name.encode())
        state.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def _has_external_data(path: Path) -> bool:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer)
