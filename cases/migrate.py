"""Older case.toml files, brought to the current schema version as they are read; the files stay as they are.

One migration is one small function that declares what it reads and what it produces: it is given the values of the
keys it reads, which are then gone, and returns the keys it produces. To add a version, add its row to MIGRATIONS and
raise SCHEMA_VERSION.

    0 -> 1  one camera under [camera], called "front", becomes [cameras.front]; `color = "bt709-full"` is split
            into matrix and range; hashes under [files] move to [sha256]; `license` becomes `licence`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from cases.errors import CaseSchemaError

__all__ = ["MIGRATIONS", "SCHEMA_VERSION", "Migration", "migrate"]

SCHEMA_VERSION: Final[Literal[1]] = 1

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from `version` to the next: a function of the keys in `reads` that returns keys in `produces`."""

    version: int
    reads: tuple[str, ...]
    produces: tuple[str, ...]
    apply: Callable[[Values], dict[str, Any]]


def _one_camera_to_many(old: Values) -> dict[str, Any]:
    camera = dict(old["camera"])
    matrix, _, color_range = str(camera.pop("color", "bt601-limited")).partition("-")
    return {"cameras": {"front": {**camera, "color_matrix": matrix, "color_range": color_range}}}


def _files_to_sha256(old: Values) -> dict[str, Any]:
    return {"sha256": old["files"]}


def _license_to_licence(old: Values) -> dict[str, Any]:
    return {"licence": old["license"]}


MIGRATIONS: tuple[Migration, ...] = (
    Migration(0, ("camera",), ("cameras",), _one_camera_to_many),
    Migration(0, ("files",), ("sha256",), _files_to_sha256),
    Migration(0, ("license",), ("licence",), _license_to_licence),
)


def migrate(raw: Mapping[str, Any], *, where: str = "case.toml") -> dict[str, Any]:
    """The table as the current version writes it; a table of that version comes back unchanged.

    A step whose keys are absent is left out: the schema then says what is missing.

    Raises:
        CaseSchemaError: no usable schema_version, or one newer than this Trueline knows.
    """
    table = dict(raw)
    version = _version(table, where)
    for step in MIGRATIONS:
        if step.version >= version and all(key in table for key in step.reads):
            _apply(step, table, where)
    return {**table, "schema_version": SCHEMA_VERSION}


def _apply(step: Migration, table: dict[str, Any], where: str) -> None:
    """Replace the keys a step reads by those it produces."""
    old = {key: table.pop(key) for key in step.reads}
    try:
        table.update(step.apply(old))
    except (TypeError, ValueError, KeyError) as error:
        raise CaseSchemaError(
            f"{', '.join(step.reads)} of schema version {step.version} cannot be migrated: {error}",
            where=where,
            remedy="import the recording again, or write the file in the current version (docs/cases.md)",
        ) from error


def _version(table: Mapping[str, Any], where: str) -> int:
    """Schema version of a table, checked."""
    version = table.get("schema_version")
    if isinstance(version, int) and not isinstance(version, bool) and 0 <= version <= SCHEMA_VERSION:
        return version
    raise CaseSchemaError(
        f"schema_version {version!r}, must be 0 to {SCHEMA_VERSION}",
        where=f"{where}, schema_version",
        remedy="update Trueline if the case is newer; else write schema_version = 1",
    )
