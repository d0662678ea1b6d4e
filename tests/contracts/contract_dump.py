"""Run as a script over one version of NVIDIA's bindings: write its whole surface as JSON to the path given.

The module is the second argument, `tensorrt_bindings` where there is none.

Enums with their values, classes with methods (pybind's docstrings hold the signatures), properties and whether they can
be set, functions. The script imports nothing but the bindings and the standard library.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import types
from pathlib import Path

SPECIAL = ("__init__", "__getitem__", "__len__")


def describe_class(cls: type) -> dict[str, object]:
    bases = [base.__name__ for base in cls.__mro__[1:] if base.__module__ == cls.__module__]
    found: dict[str, object] = {"bases": bases, "methods": {}, "properties": {}}
    for name in dir(cls):
        if name.startswith("__") and name not in SPECIAL:
            continue
        raw = inspect.getattr_static(cls, name)
        value = getattr(cls, name)
        if isinstance(raw, property):
            found["properties"][name] = raw.fset is not None  # type: ignore[index]  # a dict, just above
        elif callable(value) and not isinstance(value, type):
            found["methods"][name] = value.__doc__ or ""  # type: ignore[index]  # a dict, just above
    return found


def describe(module: types.ModuleType) -> dict[str, object]:
    enums, classes, functions = {}, {}, {}
    for name in dir(module):
        value = getattr(module, name)
        if isinstance(value, type) and hasattr(value, "__members__"):
            enums[name] = {member: int(number) for member, number in value.__members__.items()}
        elif isinstance(value, type):
            classes[name] = describe_class(value)
        elif callable(value):
            functions[name] = value.__doc__ or ""
    return {"version": module.__version__, "enums": enums, "classes": classes, "functions": functions}


bindings = importlib.import_module((*sys.argv, "tensorrt_bindings")[2])
Path(sys.argv[1]).write_text(json.dumps(describe(bindings)), encoding="utf-8")
