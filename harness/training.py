"""From a task file to a candidate: training with techniques, and the folder that `replay` and `gate` take as it is.

    task.toml + techniques -> OUT/model.toml, OUT/weights.safetensors, OUT/provenance.json and the network's own code

Where a technique changes the network's architecture (blurpool), the folder has a module of its own that builds it so.

techniques/ trains and knows nothing of cards; here its networks become candidates of a model card.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UsageError
from harness.replay.hooks import Progress
from harness.run.json import plain, write_json
from techniques.errors import TaskError
from trueline import __version__
from trueline._drafts import replacing
from trueline._reading import json_of, read_file, read_toml

if TYPE_CHECKING:
    from techniques.training import Loop, Settings, Trained

__all__ = ["Candidate", "TaskFile", "load_task_file", "train_candidate", "with_recipe"]

PROVENANCE = "provenance.json"


class TaskFile(BaseModel):
    """A task file: what is trained, how, and with which options of techniques.

    factory: `module:function` beside the file; called with [options], gives a techniques.task.Task.
    card: model card whose copy the candidate gets, with its own name and weights.
    technique: options by technique's name; they take effect where that technique is chosen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]
    path: Path
    factory: str
    card: Path
    options: dict[str, Any] = {}
    training: dict[str, Any] = {}
    technique: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True)
class Candidate:
    """A trained candidate.

    Attributes:
        folder: with model.toml, weights, provenance.
        provenance: task, settings, techniques, budget used, errors, reports.
        fresh: False if the folder already held it.
    """

    folder: Path
    provenance: dict[str, Any]
    fresh: bool


def load_task_file(path: Path) -> TaskFile:
    """Read and check a task file.

    Raises:
        TaskError: missing, not TOML, unknown keys.
    """
    path = Path(path)
    try:
        raw = read_toml(path)
        return TaskFile(**raw, path=path.resolve())
    except OSError as error:
        raise TaskError(f"no task file: {error.strerror}", where=str(path), remedy="give a task.toml") from error
    except ValidationError as error:  # a kind of ValueError
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise TaskError(problems, where=str(path), remedy="see docs/techniques.md for every key") from error
    except ValueError as error:
        raise TaskError(f"not TOML: {error}", where=str(path), remedy="fix the syntax at that line") from error
    except TypeError as error:
        raise TaskError(f"'path' is not a key of a task: {error}", where=str(path), remedy="remove it") from error


def with_recipe(file: TaskFile, recipe: str | None, chosen: Sequence[str]) -> tuple[TaskFile, list[str]]:
    """The task file with a recipe's options, and the recipe's techniques; without one both as they are.

    Args:
        recipe: see techniques.recipes.
        chosen: techniques named beside it, of which there may be none then.

    Raises:
        UsageError: a recipe and techniques.
        TaskError: no such recipe.
    """
    if recipe is None:
        return file, list(chosen)
    if chosen:
        raise UsageError(
            f"recipe {recipe!r} names its own techniques",
            where=f"--technique {chosen[0]}",
            remedy="leave one of both out, or write a recipe file",
        )
    from techniques.recipes import load_recipe

    found = load_recipe(recipe)
    return file.model_copy(update={"technique": {**file.technique, **found}}), list(found)


def train_candidate(
    file: TaskFile,
    chosen: Sequence[str],
    out: Path,
    *,
    seed: int | None = None,
    budget_passes: int | None = None,
    device: str | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> Candidate:
    """Train with the chosen techniques, in that order, and write the candidate's folder.

    A folder that holds the same candidate is left as it is; a stopped run goes on where its last state was written.

    Raises:
        UsageError: the folder holds another candidate.
        TechniqueError: an unknown technique or option, techniques that exclude one another, a loss that is not finite.
    """
    from techniques.registry import build_all
    from techniques.weight_files import file_sha256

    called = _name(name or "-".join([file.name, *(chosen or ["plain"])]).replace("++", "-plus"))
    settings = _settings(file, seed, budget_passes, device)
    options = {technique: file.technique.get(technique, {}) for technique in chosen}
    techniques = build_all(options)
    request = {
        "task": file.name,
        "task_sha256": _sha256(file.path),
        "options": file.options,
        "settings": asdict(settings),
        "initial_sha256": file_sha256(file.path.parent / settings.initial) if settings.initial else None,
        "techniques": {t.name: t.options() for t in techniques},
    }
    _locate(techniques, file.path.parent)
    request["files_sha256"] = {t.name: hashes for t in techniques if (hashes := t.file_hashes())}
    request = json.loads(json.dumps(request))
    done = _finished(out, request)
    if done is not None:
        return Candidate(out, done, fresh=False)
    card = _read_card(file.path.parent / file.card)
    root = (file.path.parent / file.card).parent.resolve()
    code = _code(card["torch"]["factory"], root)
    _add_changes(card, code, techniques)
    out.mkdir(parents=True, exist_ok=True)
    trained, errors = _trained(file, techniques, settings, out, progress)
    provenance = {**request, **_outcome(trained, errors)}
    card["name"] = called
    for path, content in code.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(out / path) as draft:
            draft.write_bytes(content)
    card["plugins"] = [str((root / p).resolve()) for p in card.get("plugins", [])]
    _write_candidate(card, trained, out, provenance)
    return Candidate(out, provenance, fresh=True)


def _name(name: str) -> str:
    """The candidate's name, if a card can have it."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise UsageError(
            f"a card cannot be called {name!r}", where="--name", remedy="use letters, digits, '.', '_' and '-'"
        )
    return name


def _settings(file: TaskFile, seed: int | None, budget_passes: int | None, device: str | None) -> Settings:
    from techniques.training import Settings

    accepted = [f.name for f in fields(Settings)]
    for key in file.training:
        if key not in accepted:
            raise TaskError(
                f"[training] has no key {key!r}", where=f"{file.path} [training]", remedy=f"it has {accepted}"
            )
    given: dict[str, Any] = {"seed": seed, "budget_passes": budget_passes, "device": device}
    try:
        settings = Settings(**file.training)
        return replace(settings, **{k: v for k, v in given.items() if v is not None})
    except TypeError as error:
        raise TaskError(
            f"a value of another kind: {error}", where=f"{file.path} [training]", remedy="fix it"
        ) from error


def _trained(
    file: TaskFile, techniques: Sequence[Any], settings: Settings, out: Path, progress: Progress | None
) -> tuple[Trained, dict[str, Any]]:
    """The trained network and its errors on the selection and test sets."""
    from engines.dotted import load_dotted, modules_of
    from techniques.training import CHECKPOINT, Loop

    root = file.path.parent
    factory = load_dotted(file.factory, root)

    def tell(loop: Loop, loss: float) -> None:
        if progress is not None:
            used = min(loop.passes.total, settings.budget_passes)
            progress("passes", used, settings.budget_passes)

    with modules_of(root):
        options = dict(file.options)
        if "progress" in inspect.signature(factory).parameters:
            options["progress"] = progress
        try:
            task = factory(**options)
        except TypeError as error:
            raise TaskError(
                f"{file.factory} refuses [options]: {error}", where=str(file.path), remedy="fix them"
            ) from error
        if settings.initial:
            settings = replace(settings, initial=str(root / settings.initial))
        loop = Loop(task, techniques, settings, out, tell)
        trained = loop.run()
        errors: dict[str, Any] = {
            part: loop.mean_error(trained.model, getattr(task, part)) for part in ("selection", "test")
        }
    (out / CHECKPOINT).unlink(missing_ok=True)
    return trained, {**errors, "unit": task.unit}


def _outcome(trained: Trained, errors: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    return {
        "passes": {"forward": trained.passes.forward, "backward": trained.passes.backward},
        "steps": trained.steps,
        "seconds": round(trained.seconds, 2),
        "error": dict(errors),
        "reports": trained.reports,
        "loss": [loss for _, loss in trained.history[:: max(len(trained.history) // 100, 1)]],
        "versions": {"trueline": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "threads": torch.get_num_threads(),
    }


def _code(factory: str, root: Path) -> dict[Path, bytes]:
    """The network's own files as they are before training starts: they may be edited while it runs."""
    from engines.dotted import load_dotted, source_files

    load_dotted(factory, root)
    files = source_files(factory.partition(":")[0], root)
    return {p.relative_to(root): p.read_bytes() for p in files if p.is_relative_to(root)}


def _locate(techniques: Sequence[Any], root: Path) -> None:
    """File names in options, which are relative to the task file, as whole paths."""
    for technique in techniques:
        for option in technique.files:
            setattr(technique, option, tuple(str(root / name) for name in getattr(technique, option)))


def _add_changes(card: dict[str, Any], code: dict[Path, bytes], techniques: Sequence[Any]) -> None:
    """Where techniques change the architecture: a module that builds the network as it was trained, and its factory."""
    changes = [change for t in techniques if (change := t.architecture()) is not None]
    if not changes:
        return
    names = ("trained_network" + (f"_{i}" if i else "") for i in count())
    name = next(n for n in names if Path(f"{n}.py") not in code)
    code[Path(f"{name}.py")] = _changed_network(card["torch"]["factory"], changes).encode()
    card["torch"]["factory"] = f"{name}:trained"


def _changed_network(factory: str, changes: Sequence[tuple[Callable[..., Any], dict[str, Any]]]) -> str:
    """Source of a module whose `trained` builds the factory's network and changes it as it was changed for training."""
    module, _, attribute = factory.partition(":")
    imports = [f"from {module} import {attribute} as plain"]
    steps = []
    for number, (change, options) in enumerate(changes, 1):
        imports.append(f"from {change.__module__} import {change.__name__} as change_{number}")
        given = "".join(f", {key}={value!r}" for key, value in options.items())
        steps.append(f"    network = change_{number}(network{given})")
    return "\n".join(
        [
            f'"""The network as it was trained: {factory}, changed; written by `trueline train` beside its weights."""',
            "",
            *imports,
            "",
            "",
            "def trained(**args):",
            f'    """{factory} with the architecture that its weights were trained in."""',
            "    network = plain(**args)",
            *steps,
            "    return network",
            "",
        ]
    )


def _write_candidate(card: dict[str, Any], trained: Trained, out: Path, provenance: Mapping[str, Any]) -> None:
    """Weights and card first, provenance last: a folder with provenance is complete."""
    from safetensors.torch import save_file

    from cases.tomlout import dump_toml

    weights = {key: value.detach().cpu().contiguous() for key, value in trained.model.state_dict().items()}
    with replacing(out / "weights.safetensors") as draft:
        save_file(weights, draft)
    card["torch"]["weights"] = "weights.safetensors"
    for other in ("onnx", "engines", "command"):  # files, plans and programs that hold other weights
        card.pop(other, None)
    with replacing(out / "model.toml") as draft:
        draft.write_text(dump_toml(card), encoding="utf-8")
    write_json(out / PROVENANCE, plain(provenance))


def _read_card(path: Path) -> dict[str, Any]:
    from harness.model.card import load_card

    card = load_card(path)
    if card.torch is None:
        raise TaskError(
            "the card has no [torch] part", where=str(path), remedy="give a card whose network can be trained"
        )
    return read_toml(path)


def _finished(out: Path, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """Provenance of the same candidate, None where there is none yet."""
    path = out / PROVENANCE
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json_of(read_file(path))
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}")
    except (OSError, ValueError) as error:
        raise UsageError(f"not JSON: {error}", where=str(path), remedy="delete the folder") from error
    different = [key for key, value in request.items() if found.get(key) != value]
    if different:
        raise UsageError(
            f"it holds another candidate: {', '.join(different)} differ", where=str(out), remedy="use another folder"
        )
    return found


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_file(path)).hexdigest()
