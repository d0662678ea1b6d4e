"""A TOML writer for the shapes of case.toml: scalars, lists of scalars, matrices, lists of tables and nested
tables.

The standard library reads TOML and does not write it. Strings become basic strings, whose escapes are those of JSON;
None is left out, as TOML has no null.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["dump_toml", "inline_toml"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def dump_toml(table: Mapping[str, Any]) -> str:
    """TOML text that `tomllib.loads` reads back as the same table, without the keys that are None."""
    return "\n".join(_table(table, ())).strip("\n") + "\n"


def inline_toml(value: Any) -> str:
    """One value as TOML, on one line."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(inline_toml(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(k)} = {inline_toml(v)}' for k, v in value.items() if v is not None)} }}"
    return _value(value)


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Lines of a table: its own values first, its sub-tables after them."""
    plain = {k: v for k, v in table.items() if v is not None and not isinstance(v, Mapping)}
    nested = {k: v for k, v in table.items() if isinstance(v, Mapping)}
    if path and (plain or not nested):
        yield ""
        yield f"[{'.'.join(_key(part) for part in path)}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in nested.items():
        yield from _table(value, (*path, key))


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (list, tuple)):
        return _list(value)
    if isinstance(value, Mapping):  # inside a list
        return inline_toml(value)
    raise TypeError(f"no TOML for a {type(value).__name__}: {value!r}")


def _float(value: float) -> str:
    """Shortest digits that read back as the same float."""
    if math.isfinite(value):
        return repr(float(value))
    return "nan" if math.isnan(value) else f"{'-' if value < 0 else ''}inf"


def _string(text: str) -> str:
    """JSON escapes all that TOML does but DEL; non-ASCII stays as it is, as TOML has no surrogate pairs."""
    text = text.encode("utf-8", "replace").decode("utf-8")  # names of files may hold what no text can
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(items: list[Any] | tuple[Any, ...]) -> str:
    """One line, or one row a line for a matrix or a list of tables."""
    if items and all(isinstance(row, (list, tuple, Mapping)) for row in items):
        rows = "".join(f"    {_value(row)},\n" for row in items)
        return f"[\n{rows}]"
    return f"[{', '.join(_value(item) for item in items)}]"
