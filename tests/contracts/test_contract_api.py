"""What the adapter asks of TensorRT, held against NVIDIA's real bindings of every version."""

from __future__ import annotations

import ast
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from contract_machine import ADAPTER, real
from contract_rtx import VERSIONS
from contract_signatures import misfit, signatures
from contract_uses import MODULE, Use, Uses, uses_of

from engines.errors import EngineError
from engines.tensorrt.api import ONLY, Api
from engines.tensorrt.graph import GraphFacts
from engines.tensorrt.messages import Messages
from engines.tensorrt.options import Options
from engines.tensorrt.product import RTX, TENSORRT
from engines.tensorrt.recipe import PRECISIONS, choose


def exists(surface: dict[str, Any], owner: str, name: str) -> bool:
    if owner == MODULE:
        return name in surface["enums"] or name in surface["classes"] or name in surface["functions"]
    if owner in surface["enums"]:
        return name in surface["enums"][owner]
    about = surface["classes"].get(owner, {"methods": {}, "properties": {}})
    return name in about["methods"] or name in about["properties"]


def overload(use: Use) -> str:
    return f"{use.dotted}({use.positional})"


def expected(dotted: str, version: str) -> bool:
    """Whether the adapter counts on a version having a name."""
    owner = dotted.partition(".")[0]
    product = RTX if version in VERSIONS else TENSORRT
    spans = [ONLY[name].get(product.key, ((99,), None)) for name in (dotted, owner) if name in ONLY]
    numbers = tuple(map(int, version.split(".")))
    return all(first <= numbers and (last is None or numbers[: len(last)] <= last) for first, last in spans)


def fault(surface: dict[str, Any], use: Use) -> str | None:
    """What is wrong with a use of a name that the version has."""
    about = surface["classes"].get(use.owner, {"methods": {}, "properties": {}})
    if use.kind == "set" and not about["properties"].get(use.name):
        return "cannot be set"
    if use.kind == "base":
        real = signatures(about["methods"].get(use.name, ""))
        names = [argument.name for argument in real[0].arguments] if real else []
        return None if list(use.keywords) == names else f"takes {names}, and the subclass {list(use.keywords)}"
    if use.kind != "call":
        return None
    if use.owner == MODULE and use.name in surface["classes"]:
        return misfit(surface["classes"][use.name]["methods"]["__init__"], use.positional, use.keywords)
    docstring = surface["functions"].get(use.name, "") if use.owner == MODULE else about["methods"].get(use.name)
    return "is no method" if docstring is None else misfit(docstring, use.positional, use.keywords)


def faults(surface: dict[str, Any], uses: Uses, version: str) -> list[str]:
    found = []
    for use in uses.found:
        if overload(use) in ONLY and not expected(overload(use), version):
            continue
        there = exists(surface, use.owner, use.name)
        if there != expected(use.dotted, version):
            found.append(f"{use.place}: TensorRT {version} has {'' if there else 'no '}{use.dotted}")
        elif there and (wrong := fault(surface, use)):
            found.append(f"{use.place}: {use.dotted} {wrong}")
    return found


def test_every_name_call_and_override_fits_the_real_bindings(
    real_surface: dict[str, Any], uses: Uses, any_version: str
) -> None:
    assert real_surface["version"] == any_version
    assert faults(real_surface, uses, any_version) == []


def test_every_span_of_versions_is_that_of_the_real_bindings(real_surface: dict[str, Any], any_version: str) -> None:
    for dotted in ONLY:
        path, called, arguments = dotted.rstrip(")").partition("(")
        owner, _, name = path.rpartition(".")
        there = exists(real_surface, owner or MODULE, name)
        if called:
            docstring = real_surface["classes"][owner]["methods"][name]
            there = misfit(docstring, int(arguments), ()) is None
        assert there == expected(dotted, any_version), dotted


def test_no_use_escapes_the_reading(uses: Uses) -> None:
    assert uses.unknown == []
    assert len(uses.found) >= 80
    assert {use.kind for use in uses.found} == {"get", "set", "call", "base"}


WRONG = {
    "def f(trt, builder: Builder):\n    builder.create_netwerk(0)\n": "no Builder.create_netwerk",
    "def f(builder: Builder):\n    builder.create_network(0, 1)\n": "takes 1 arguments",
    "def f(config: IBuilderConfig):\n    config.set_timing_cache(1, ignore=False)\n": "no argument 'ignore'",
    "def f(config: IBuilderConfig):\n    config.set_timing_cache(1)\n": "lacks argument 'ignore_mismatch'",
    "def f(engine: ICudaEngine):\n    engine.num_layers = 3\n": "cannot be set",
    "def f(trt):\n    return trt.BuilderFlag.TF64\n": "no BuilderFlag.TF64",
    "def f(trt):\n    return trt.Bilder(0)\n": "no Bilder",
    "def f(trt):\n    b = trt.Builder(0)\n    b.biuld()\n": "no Builder.biuld",
    "def g() -> Runtime: ...\ndef f():\n    r = g()\n    r.x()\n": "no Runtime.x",
    "class L(trt.ILogger):\n    def log(self, level, msg): ...\n": "takes ['severity', 'msg']",
    "def f(n: INetworkDefinition):\n    a: list[ITensor] = []\n    return [t.nam for t in a]\n": "no ITensor.nam",
}


def test_every_misuse_is_found(real_surface: dict[str, Any], any_version: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    api = next(path for path in ADAPTER if path.name == "api.py")
    for source, text in WRONG.items():
        wrong.write_text(source)
        found = faults(real_surface, uses_of([api, wrong], real_surface), any_version)
        assert any(text in f for f in found if f.startswith("wrong.py")), source


def test_an_object_of_unknown_type_is_an_error(real_surface: dict[str, Any], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("def f(parser: OnnxParser):\n    parser.get_error(0).dessc()\n")
    api = next(path for path in ADAPTER if path.name == "api.py")
    assert uses_of([api, wrong], real_surface).unknown == ["wrong.py:2: .dessc of an object of unknown type"]


def test_every_name_that_only_some_versions_have_is_declared_and_asked_for() -> None:
    asked = set()
    for path in ADAPTER:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".has") and node.args:
                asked |= {n.value for n in ast.walk(node.args[0]) if isinstance(n, ast.Constant)}
    assert {name for name in asked if not str(name).endswith(".")} <= set(ONLY)


@pytest.mark.parametrize("kind", ["weak", "strong"])
def test_every_recipe_names_builder_flags_that_the_version_has(machine: Any, kind: Any, tmp_path: Path) -> None:
    api = Api(TENSORRT, machine.trt, machine.version, None, Messages())
    chosen = 0
    plain = GraphFacts(17, frozenset(), False, ())
    typed = GraphFacts(17, frozenset({"FLOAT16"}), False, ())
    quantised = GraphFacts(17, frozenset(), True, ())
    given = [Options(), Options(tf32=False), Options(calibration_cache=tmp_path), Options(rest="fp16")]
    for precision, graph, options in product(PRECISIONS, (plain, typed, quantised), given):
        try:
            recipe = choose("trt-x", precision, api, kind, graph, options, "model.onnx")
        except EngineError:
            continue
        chosen += 1
        assert {*recipe.set_flags, *recipe.clear_flags} <= set(real(machine.version)["enums"]["BuilderFlag"])
        assert not (recipe.typing == "strong" and {"FP16", "BF16", "INT8"} & set(recipe.set_flags))
    assert chosen >= 4
