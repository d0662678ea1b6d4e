"""Which nodes of a graph are rounded: chosen by node, by module of the network, or by input; and the groups to choose.

A module is known where the dynamo exporter wrote the path of modules to each node. Its convolutions carry the name of
the BatchNorm that was folded into them, so the unit here is the block: the module that holds the leaf modules.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engines.emulated.graph import array_of, nodes_of
from engines.emulated.ops import is_exact, is_shape_slot
from engines.emulated.placement import sizes_of
from engines.errors import EngineOptionError

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["INPUTS", "ROOT", "Chosen", "choose", "groups_of", "modules_of", "restore_scopes", "scopes_in"]

ROOT, INPUTS = "(root)", "(inputs)"
_SCOPES = "pkg.torch.onnx.name_scopes"

Chosen = set["ir.Node | ir.Value"]  # nodes, and inputs of the graph


def restore_scopes(model: ir.Model, path: Path) -> None:
    """Give nodes their modules back, by name: ONNX Runtime drops them where it moves Transposes.

    Args:
        model: the folded graph, changed in place.
        path: the file it was folded from.
    """
    import onnx

    known = {
        name: entry.value
        for node in onnx.load(path, load_external_data=False).graph.node
        for entry in node.metadata_props
        if entry.key == _SCOPES
        for name in (("node", node.name), *(("value", output) for output in node.output))
    }
    for node in nodes_of(model):
        names = [*(("value", value.name) for value in node.outputs), ("node", node.name)]
        found = [known[name] for name in names if name in known and name[1]]
        if found and _SCOPES not in node.metadata_props:
            node.metadata_props[_SCOPES] = found[0]


def choose(model: ir.Model, only: Sequence[str]) -> Chosen:
    """Nodes and inputs of a graph.

    Args:
        model: the folded graph.
        only: names of nodes (all of a node's subgraphs go with it), dotted paths of modules, names of inputs.

    Raises:
        EngineOptionError: a name that nothing has.
    """
    found: dict[str, Chosen] = {value.name: {value} for value in model.graph.inputs if value.name}
    names = _names(nodes_of(model))
    for node, name in names.items():
        for key in {name, *(path for path in modules_of(node) if path)}:
            found.setdefault(key, set()).update([node, *_inside(node)])
    for name in only:
        if name not in found:
            raise EngineOptionError(
                f"nothing in the graph is called {name!r}",
                where=f"option only, graph {model.graph.name}",
                remedy=f"name nodes, modules or inputs, such as {', '.join(list(found)[:6])}",
            )
    return {item for name in only for item in found[name]}


def groups_of(model: ir.Model) -> dict[str, tuple[str, ...]]:
    """Group -> what to give to `choose` for it; the groups share nothing, and together they round all that is rounded.

    A group is a block of modules, `ROOT` what the network itself computes, `INPUTS` the inputs; a node without a module
    is a group of its own. Nodes that only pass numbers on belong to none: they add no rounding to that of their inputs.
    """
    nodes = list(nodes_of(model))
    sizes, names = sizes_of(nodes), _names(nodes)
    inner = {path for node in nodes for path in modules_of(node)[:-1]}
    groups: dict[str, list[str]] = {INPUTS: [value.name for value in model.graph.inputs if value.name]}
    for node, name in names.items():
        if node not in sizes and _rounds(node):
            groups.setdefault(_block(node, inner) or name, []).append(name)
    return {group: tuple(members) for group, members in groups.items() if members}


def _block(node: ir.Node, inner: set[str]) -> str:
    """The block of a node; empty where no module is known."""
    paths = modules_of(node)
    if not paths:
        return ""
    leaf = len(paths) > 2 and paths[-1] not in inner
    return (paths[-2] if leaf else paths[-1]) or ROOT


def modules_of(node: ir.Node) -> list[str]:
    """Paths of the modules around a node, the network itself ("") first; empty where the file does not say."""
    return scopes_in(node.metadata_props)


def scopes_in(metadata: Mapping[str, str]) -> list[str]:
    """The same from what the file tells of a node."""
    text = metadata.get(_SCOPES, "")
    try:
        scopes = ast.literal_eval(text) if text else []
    except (SyntaxError, ValueError):
        return []
    known = isinstance(scopes, list) and all(isinstance(scope, str) for scope in scopes)
    return scopes[:-1] if known else []  # the last one is the operator


def _names(nodes: Iterable[ir.Node]) -> dict[ir.Node, str]:
    """A name of its own for every node: repeated ones get a number."""
    count: Counter[str] = Counter()
    names = {}
    for node in nodes:
        name = node.name or node.op_type
        count[name] += 1
        names[node] = name if count[name] == 1 else f"{name}#{count[name]}"
    return names


def _inside(node: ir.Node) -> list[ir.Node]:
    """All nodes of a node's subgraphs."""
    import onnx_ir as ir

    graphs = [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
    return [inner for graph in graphs for inner in ir.traversal.RecursiveGraphIterator(graph)]


def _rounds(node: ir.Node) -> bool:
    """Whether a node makes new numbers, or brings in constants."""
    import onnx_ir as ir

    return not is_exact(node) or any(
        value is not None
        and value.dtype == ir.DataType.FLOAT
        and array_of(value) is not None
        and not is_shape_slot(node, index)
        for index, value in enumerate(node.inputs)
    )
