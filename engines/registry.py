"""Which engines there are: a table of names, and the modules that run them.

A name may carry a suffix after `@` (the device, `torch-fp32@cuda`) or `:` (which one, `recorded:orin`); the module sees
the whole name. A module of the table gives

    open_engine(name: str, source: ModelSource, **options) -> Engine
    availability(name: str) -> Availability

and, where some options are files, their names in FILE_OPTIONS. Nothing heavy is imported before one of them is called.

Options come from the caller and, below that, from the card: `source.options` of the name without suffixes, of the name
with `:WHICH`, of the whole name, the later over the earlier. A family without variants of its own takes any `:WHICH`
that the card has options for, so one engine can run twice, differently.

Third parties add engines by the entry-point group `trueline.engines`: entry name -> a module or object with the same
`open_engine` and, if they like, `availability`, FILE_OPTIONS, and LADDER: engine -> (parent, factors), its place in the
ladder (engines/ladder.py). A name of ours always means our engine.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from engines.errors import EngineError, EngineOptionError, EngineUnavailable, ModelLoadError, UnknownEngine
from engines.foreign import guarded, outside
from engines.guest import hosted
from engines.protocol import Availability, Engine, ModelSource
from engines.table import TABLE
from trueline import TruelineError

if TYPE_CHECKING:
    from engines.emulated.pair import Pair
    from engines.tensorrt.opening import Compiled

__all__ = [
    "ENTRY_POINTS",
    "availability",
    "check_name",
    "compile_plan",
    "declared_ladder",
    "family",
    "names",
    "open_engine",
    "option_files",
    "rewritten_pair",
]

ENTRY_POINTS = "trueline.engines"
WITH_VARIANTS = ("emulated", "command", "recorded", "third-party")  # families that know what `:WHICH` means


def open_engine(name: str, source: ModelSource, **options: Any) -> Engine:
    """Open an engine on a model.

    Args:
        name: a name of `names()`, with `@DEVICE` or `:WHICH` where the engine takes one.
        source: the model.
        options: of the engine, see docs/engines.md; None means what the card says, or its default.

    Raises:
        UnknownEngine: no engine of that name; the nearest names are listed.
        EngineOptionError: an option the engine does not have.
        EngineUnavailable: this machine or this model cannot run it.
        EngineError: the model does not load or does not fit; whatever an engine raises becomes one line with its name.
    """
    return hosted(_applied("open_engine", name, source, options), name)


def compile_plan(name: str, source: ModelSource, **options: Any) -> Compiled:
    """Build what an engine would run, without running it: the plan of a `trtrtx-*` engine needs no GPU.

    Raises:
        EngineUnavailable: this engine builds nothing, or only where it runs.
        EngineError: as of `open_engine`.
    """
    if not hasattr(_load(name, check_name(name)), "compile_plan"):
        raise EngineUnavailable(
            f"{name} has no plan that is built ahead", where="engine name", remedy="name a trtrtx-* engine"
        )
    return cast("Compiled", _applied("compile_plan", name, source, options))


def rewritten_pair(name: str, source: ModelSource, **options: Any) -> Pair | None:
    """An engine's graph without its roundings and with them; None of an engine that does not work by rewriting one.

    Raises:
        EngineError: as of `open_engine`.
    """
    if not hasattr(_load(name, check_name(name)), "rewritten_pair"):
        return None
    return cast("Pair", _applied("rewritten_pair", name, source, options))


def _applied(function: str, name: str, source: ModelSource, options: Mapping[str, Any]) -> Any:
    """Call a function of an engine's module with the options of table, card and caller."""
    third_parties = check_name(name)
    _check_variant(name, source)
    module, base = _load(name, third_parties), base_name(name)
    of_card = _card_options(name, source, module)
    given = {**of_card, **{key: value for key, value in options.items() if value is not None}}
    fixed: Mapping[str, Any] = TABLE[base].options if base in TABLE else {}
    try:
        if clash := sorted(fixed.keys() & given.keys()):
            raise EngineOptionError(
                f"engine {name!r} already fixes {clash}",
                where=f"options of {name}",
                remedy=f"leave {clash[0]} out, or choose another engine of {names()}",
            )
        with guarded(
            lambda cause: ModelLoadError(
                f"{name} does not open: {cause}",
                where=f"{source.name}, engine {name}",
                remedy="open it by hand on this model, and tell whoever made the engine",
            )
        ):
            return getattr(module, function)(name, source, **fixed, **given)
    except EngineOptionError as error:
        raise (error.within(f"{source.name}, [engines] of its model card") if of_card else error) from error.__cause__
    except TruelineError as error:
        raise (error if name in error.where else error.within(f"engine {name}")) from error.__cause__


def check_name(name: str) -> Mapping[str, Any]:
    """Engines of other packages, where the name is not one of ours.

    Raises:
        UnknownEngine: no engine of that name; the nearest names are listed.
    """
    base = base_name(name)
    third_parties = _third_parties() if base not in TABLE else {}
    if base not in TABLE and base not in third_parties:
        raise UnknownEngine(f"no engine {name!r}", where="engine name", remedy=_near(name))
    return third_parties


def option_files(source: ModelSource) -> tuple[Path, ...]:
    """Files that the card's options of engines name and that are there: they decide what those engines compute."""
    found: dict[Path, None] = {}
    for name in source.options:
        with suppress(EngineError):
            module = _load(name, check_name(name))
            options = _card_options(name, source, module)
            found |= {Path(options[key]): None for key in _file_options(module) if isinstance(options.get(key), str)}
    return tuple(path for path in found if path.is_file())


def names() -> list[str]:
    """Every engine that could be asked for, built in first, whether or not it runs here."""
    return [*TABLE, *(n for n in sorted(_third_parties()) if n not in TABLE)]


def availability(name: str | None = None) -> tuple[Availability, ...]:
    """Whether each engine (or the named one) runs here: version and device, or why not and the remedy. Never raises."""
    return tuple(_availability(n) for n in ([name] if name is not None else names()))


def family(name: str) -> str:
    """The family of an engine: `torch`, `ort`, ...; `third-party` where it is not ours."""
    entry = TABLE.get(base_name(name))
    return entry.family if entry else "third-party"


def declared_ladder(name: str) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """Engine -> (parent, factors), as the package of another party's engine says in LADDER.

    Raises:
        UnknownEngine: no engine of that name.
        EngineUnavailable: its package does not import, or LADDER is written otherwise.
    """
    return _ladder_of(_load(name, check_name(name)), name)


def base_name(name: str) -> str:
    """The name without `@DEVICE` and `:WHICH`."""
    return name.partition("@")[0].partition(":")[0]


def _check_variant(name: str, source: ModelSource) -> None:
    """A `:WHICH` means something to the engine's family or stands in the card.

    Raises:
        UnknownEngine: neither.
    """
    head = name.partition("@")[0]
    if ":" in head and family(name) not in WITH_VARIANTS and head not in source.options:
        raise UnknownEngine(
            f"no engine {name!r}: the card says nothing of {head!r}",
            where=f"{source.name}, engine name",
            remedy=f'add [engines."{head}"] with its options to model.toml, or use {base_name(name)!r}',
        )


def _card_options(name: str, source: ModelSource, module: Any) -> dict[str, Any]:
    """What the card says of this engine; files are taken from the card's folder."""
    merged: dict[str, Any] = {}
    for key in dict.fromkeys((base_name(name), name.partition("@")[0], name)):
        merged |= source.options.get(key, {})
    files = _file_options(module)
    return {
        key: str(source.root / value) if key in files and isinstance(value, str) else value
        for key, value in merged.items()
    }


def _file_options(module: Any) -> tuple[str, ...]:
    return tuple(getattr(module, "FILE_OPTIONS", ()))


def _availability(name: str) -> Availability:
    base = base_name(name)
    try:
        third_parties = _third_parties() if base not in TABLE else {}
        if base not in TABLE and base not in third_parties:
            return Availability(name, False, f"no engine {name!r}", _near(name))
        module = _load(name, third_parties)
        if base not in TABLE and not hasattr(module, "availability"):
            return Availability(name, True, f"third party, {third_parties[base].value}")
        fix = f"fix or uninstall what provides {name}"
        with outside(lambda cause: EngineUnavailable(cause, where=name, remedy=fix)):
            answer: Availability = module.availability(name)
        return answer
    except EngineError as error:
        return Availability(name, False, error.what, error.remedy)


def _load(name: str, third_parties: Mapping[str, Any]) -> Any:
    """The module or object that runs an engine of the table or of a third party."""
    base = base_name(name)
    if base in TABLE:
        return importlib.import_module(TABLE[base].module)
    entry = third_parties[base]
    with outside(
        lambda cause: EngineUnavailable(
            f"engine {name!r} of {entry.value} does not import: {cause}",
            where=f"entry point {ENTRY_POINTS}",
            remedy="fix or uninstall the package that provides it",
        )
    ):
        found = entry.load()
    if not hasattr(found, "open_engine"):
        raise EngineUnavailable(
            f"{entry.value} has no open_engine(name, source, **options)",
            where=f"entry point {ENTRY_POINTS}",
            remedy="ask its author to follow docs/engines.md",
        )
    _ladder_of(found, entry.value)
    return found


def _ladder_of(module: Any, name: str) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """LADDER of a module, checked: engine -> (parent, at least one factor)."""
    told = getattr(module, "LADDER", {})
    try:
        ladder = {str(engine): (parent, tuple(factors)) for engine, (parent, factors) in dict(told).items()}
        texts = [text for parent, factors in ladder.values() for text in (parent, *factors)]
        if not all(isinstance(text, str) and text for text in texts) or not all(f for _, f in ladder.values()):
            raise ValueError("empty, or no text")
        if any(isinstance(factors, str) for _, factors in dict(told).values()):
            raise ValueError("factors are one text")
    except (TypeError, ValueError) as error:
        raise EngineUnavailable(
            f"LADDER of {name} is not engine -> (parent, factors): {error}",
            where=f"entry point {ENTRY_POINTS}",
            remedy='ask its author to write it like {"acme-fp16": ("acme-fp32", ("precision:fp16",))}',
        ) from error
    return ladder


def _third_parties() -> dict[str, Any]:
    """Entry points of other packages, by engine name."""
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _near(name: str) -> str:
    """Remedy for a wrong name: the nearest ones first, else all."""
    known = names()
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"choose one of {known}"
