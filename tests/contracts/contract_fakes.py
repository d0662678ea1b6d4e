"""A module shaped like one version of NVIDIA's bindings, generated from what the real ones offer.

A name that the real version lacks is an AttributeError here, a call that fits none of its signatures a TypeError, a
property that cannot be set cannot be set. Every use is recorded. What a method does comes from a `world` object: its
method `Class_method(self, ...)`, arguments in the real order; a method that the world lacks raises, so that nothing
passes for lack of behaviour.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

from contract_signatures import Signature, signatures

BUFFERS = ("buffer", "typing_extensions.Buffer")


class Recording(list[tuple[str, tuple[Any, ...]]]):
    """What was asked, in order: (dotted name, arguments)."""

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self}

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of every use of a name."""
        return [arguments for used, arguments in self if used == name]


def fake_module(surface: Mapping[str, Any], world: Any) -> ModuleType:
    """Generate the module; `world` gets `trt`, the same names without recording, and `record`."""
    module = _Recorded("tensorrt", surface)
    record = Recording()
    module.__dict__.update(__version__=surface["version"], __file__="generated from NVIDIA's bindings", _record=record)
    module.__dict__["__spec__"] = ModuleSpec("tensorrt", None)  # other libraries ask whether TensorRT is there
    for name, members in surface["enums"].items():
        module.__dict__[name] = _enum(name, members, record)
    for name in _in_order(surface["classes"]):
        module.__dict__[name] = _class(name, surface["classes"][name], module, world, record)
    for name, docstring in surface["functions"].items():
        module.__dict__[name] = _function(name, docstring, module, world, record)
    world.trt, world.record = SimpleNamespace(**module.__dict__), record
    return module


def make(module: Any, name: str, **attributes: Any) -> Any:
    """An object of a class, as the library itself makes them; attributes are the world's own notes on it."""
    cls = getattr(module, name)
    made = object.__new__(cls)
    made.__dict__.update(_made=True, **attributes)
    return made


class _Recorded(ModuleType):
    """Records which names of the module are asked for."""

    def __init__(self, name: str, surface: Mapping[str, Any]) -> None:
        super().__init__(name)
        known = {*surface["enums"], *surface["classes"], *surface["functions"]}
        self.__dict__["_known"] = known

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        own = super().__getattribute__("__dict__")
        if name in own.get("_known", ()) and "_record" in own:
            own["_record"].append((name, ()))
        return value


class _Enum(enum.Enum):
    """pybind's enums turn into numbers when asked."""

    def __int__(self) -> int:
        return int(self.value)

    __index__ = __int__


def _enum(name: str, members: Mapping[str, int], record: Recording) -> type:
    made = _Enum(name, dict(members))  # type: ignore[call-overload]  # the functional form
    return type(name, (_EnumView,), {"_made": made, "_label": name, "_record": record})("x")


class _EnumView:
    """An enum class that records which members are asked for."""

    _made: Any
    _label: str
    _record: Recording

    def __init__(self, _: str) -> None:
        self.__members__ = dict(self._made.__members__)

    def __getattr__(self, name: str) -> Any:
        if name not in self.__members__:
            raise AttributeError(f"type object {self._label!r} has no attribute {name!r}")
        self._record.append((f"{self._label}.{name}", ()))
        return self.__members__[name]

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, self._made)


def _in_order(classes: Mapping[str, Any]) -> list[str]:
    """Bases before what derives from them."""
    return sorted(classes, key=lambda name: len([b for b in classes[name]["bases"] if b in classes]))


def _class(name: str, about: Mapping[str, Any], module: ModuleType, world: Any, record: Recording) -> type:
    bases = tuple(module.__dict__[base] for base in about["bases"][:1] if base in module.__dict__) or (object,)
    body: dict[str, Any] = {"__module__": "tensorrt", "__init__": _constructor(name, about, module, world, record)}
    for method, docstring in about["methods"].items():
        if method not in ("__init__", "__len__", "__getitem__"):
            body[method] = _method(name, method, docstring, module, world, record)
    for attribute, settable in about["properties"].items():
        body[attribute] = _property(name, attribute, settable, world, record)
    if name == "IHostMemory":
        body["__bytes__"] = lambda self: self.content
    return type(name, bases, body)


def _constructor(
    name: str, about: Mapping[str, Any], module: ModuleType, world: Any, record: Recording
) -> Callable[..., None]:
    overloads = signatures(about["methods"].get("__init__", ""))

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # it becomes the class's own
        if not overloads:
            raise TypeError(f"{name}: No constructor defined!")
        values = _bound(name, overloads, args, kwargs, module)
        self.__dict__["_made"] = True
        record.append((name, values))
        if (handler := getattr(world, f"{name}_init", None)) is not None:
            handler(self, *values)

    return __init__


def _method(
    cls: str, name: str, docstring: str, module: ModuleType, world: Any, record: Recording
) -> Callable[..., Any]:
    overloads = signatures(docstring)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.__dict__.get("_made"):
            raise TypeError(f"{cls}.__init__() must be called when overriding __init__")
        values = _bound(f"{cls}.{name}", overloads, args, kwargs, module)
        record.append((f"{cls}.{name}", values))
        return _handler(world, f"{cls}_{name}")(self, *values)

    return method


def _function(name: str, docstring: str, module: ModuleType, world: Any, record: Recording) -> Callable[..., Any]:
    overloads = signatures(docstring)

    def function(*args: Any, **kwargs: Any) -> Any:
        values = _bound(name, overloads, args, kwargs, module)
        record.append((name, values))
        return _handler(world, name)(*values)

    return function


def _property(cls: str, name: str, settable: bool, world: Any, record: Recording) -> property:
    def get(self: Any) -> Any:
        record.append((f"{cls}.{name}", ()))
        if (handler := getattr(world, f"{cls}_get_{name}", None)) is not None:
            return handler(self)
        return self.__dict__[f"_{name}"]

    def put(self: Any, value: Any) -> None:
        record.append((f"{cls}.{name}", (value,)))
        self.__dict__[f"_{name}"] = value

    return property(get, put if settable else None)


def _handler(world: Any, name: str) -> Callable[..., Any]:
    handler = getattr(world, name, None)
    if handler is None:
        raise NotImplementedError(f"the world has no {name}: say what the library would do")
    found: Callable[..., Any] = handler
    return found


def _bound(
    what: str, overloads: tuple[Signature, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any], module: ModuleType
) -> tuple[Any, ...]:
    """Arguments in the signature's order, of the first overload that takes them."""
    if not overloads:
        return (*args, *kwargs.values())
    reasons = []
    for overload in overloads:
        reason = overload.bind(len(args), list(kwargs)) or _mistyped(overload, args, kwargs, module)
        if reason is None:
            rest = [kwargs[argument.name] for argument in overload.arguments[len(args) :] if argument.name in kwargs]
            return (*args, *rest)
        reasons.append(reason)
    raise TypeError(f"{what}(): incompatible function arguments: {'; '.join(reasons)}")


def _mistyped(overload: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any], module: ModuleType) -> str | None:
    for index, argument in enumerate(overload.arguments):
        if index >= len(args) and argument.name not in kwargs:
            continue
        value = args[index] if index < len(args) else kwargs[argument.name]
        if not _fits(value, argument.kind, module):
            return f"{argument.name} must be {argument.kind}, got {type(value).__name__}"
    return None


def _fits(value: Any, kind: str, module: ModuleType) -> bool:
    """Whether pybind would take a value for a type; types that it does not say are taken."""
    plain: dict[str, Callable[[Any], bool]] = {
        "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
        "typing.SupportsInt": lambda v: isinstance(v, int) and not isinstance(v, bool),
        "bool": lambda v: isinstance(v, bool),
        "str": lambda v: isinstance(v, str),
        "tuple": lambda v: isinstance(v, tuple) and all(isinstance(size, int) for size in v),
        "Dims": lambda v: isinstance(v, tuple | list) and all(isinstance(size, int) for size in v),
        **dict.fromkeys(BUFFERS, lambda v: isinstance(v, bytes)),
    }
    if kind in plain:
        return plain[kind](value)
    expected = module.__dict__.get(kind)
    if isinstance(expected, _EnumView):
        return expected.__instancecheck__(value)
    if isinstance(expected, type):
        return isinstance(value, expected) and bool(value.__dict__.get("_made"))
    return True
