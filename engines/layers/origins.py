"""Which nodes of the file a node of the folded graph came from, and in which modules of the network those are.

ONNX Runtime folds constants and BatchNorms and keeps the names of most values, so a folded node stands for what lies in
the file between the values that it reads and those that it gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.emulated.selection import scopes_in
from engines.layers.network import Network

__all__ = ["Origin", "origins_of"]


@dataclass(frozen=True)
class Origin:
    """Of one node of the folded graph: names of the file's nodes, and the innermost module of each, each once."""

    nodes: tuple[str, ...]
    modules: tuple[str, ...]


def origins_of(folded: Network, path: Path) -> dict[str, Origin]:
    """Node of the folded graph -> where it came from; a node that the runtime made of nothing known is missing."""
    import onnx
    from onnx.inliner import inline_local_functions

    model = onnx.load(path, load_external_data=False)
    file = Network(inline_local_functions(model) if model.functions else model)
    values = set(folded.inputs) | {name for node in folded.nodes for name in node.output}
    by_name = {node.name: place for place, node in enumerate(file.nodes) if node.name}
    found: dict[str, Origin] = {}
    for index, node in enumerate(folded.nodes):
        known = values - set(node.output) | set(folded.reads[index])
        places = file.slice([name for name in node.output if name in file.producer], known)
        places = [place for place in places if file.nodes[place].op_type != "Constant"]
        if not places and node.name in by_name:
            places = [by_name[node.name]]
        if places:
            found[node.name] = _origin(file, places)
    return found


def _origin(file: Network, places: list[int]) -> Origin:
    modules = []
    for place in places:
        paths = scopes_in({entry.key: entry.value for entry in file.nodes[place].metadata_props})
        modules += [path for path in paths[-1:] if path]
    names = [file.nodes[place].name or f"{file.nodes[place].op_type} #{place}" for place in places]
    return Origin(tuple(names), tuple(dict.fromkeys(modules)))
