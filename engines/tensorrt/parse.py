"""ONNX into a TensorRT network, with every error of the parser named by its node."""

from __future__ import annotations

import re
from pathlib import Path

from engines.errors import ModelLoadError
from engines.tensorrt.api import Api, Builder, ILayer, INetworkDefinition, OnnxParser, ParserError
from engines.tensorrt.graph import GraphFacts
from engines.tensorrt.kernels import metadata_nodes
from engines.tensorrt.recipe import Typing

__all__ = ["create_network", "named_in", "parse_onnx"]

SHOWN = 3


def create_network(api: Api, builder: Builder, typing: Typing) -> INetworkDefinition:
    """An empty network of the typing that is asked for; 11.x has strong typing only, 10.x explicit batch only."""
    trt, flags = api.trt, 0
    if api.major == 8:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    elif typing == "strong" and api.has("BuilderFlag.FP16"):
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return builder.create_network(flags)


def parse_onnx(api: Api, network: INetworkDefinition, model: Path, graph: GraphFacts) -> OnnxParser:
    """Fill a network from an ONNX file.

    Returns:
        The parser: it owns the weights and must live until the plan is built.

    Raises:
        ModelLoadError: TensorRT cannot read it; node, operator and reason of each error.
    """
    parser: OnnxParser = api.trt.OnnxParser(network, api.logger)
    with api.messages.collect() as messages:
        parsed = parser.parse_from_file(str(model.resolve()))
        errors = [_said(api, parser.get_error(index), graph) for index in range(parser.num_errors)]
        if parsed and not errors:
            return parser
        errors = list(dict.fromkeys(errors)) or [messages.reason()]
    more = f"; and {len(errors) - SHOWN} more" if len(errors) > SHOWN else ""
    raise ModelLoadError(
        f"{api.title} cannot read the graph: {'; '.join(errors[:SHOWN])}{more}",
        where=str(model),
        remedy="replace these nodes in the network, name a plugin library under plugins in model.toml, or export to "
        "another opset",
    )


def _said(api: Api, error: ParserError, graph: GraphFacts) -> str:
    """One error of the parser; before 10.0 it knows a node by its number only."""
    index = error.node()
    node = graph.nodes[index] if 0 <= index < len(graph.nodes) else ""
    operator = ""
    if api.has("ParserError.node_name"):
        node, operator = error.node_name() or node, error.node_operator()
    place = f"node {node!r}" if node else "the graph"
    return f"{place}{f' ({operator})' if operator else ''}: {' '.join(str(error.desc()).split())}"


def named_in(reason: str, network: INetworkDefinition, graph: GraphFacts) -> str:
    """The ONNX nodes behind a failed build, `node 'up' (ConvTranspose)`; empty where the reason does not tell.

    A reason may name a node, one of the network's layers, which remember their nodes, or an operator and no more.
    """
    words = set(re.findall(r"[^\s'\"(){},;]+", reason))
    operators = dict(zip(graph.nodes, graph.operators, strict=False))
    found = [node for node in graph.nodes if node in words]
    if not found:
        layers: list[ILayer] = [network.get_layer(index) for index in range(network.num_layers)]
        found = [node for layer in layers if layer.name in words for node in metadata_nodes(layer.metadata)]
    if not found:
        found = [node for node, operator in operators.items() if operator in words]
    known = [f"node {node!r} ({operators[node]})" for node in dict.fromkeys(found) if node in operators]
    return ", ".join(known[:SHOWN]) + (f" and {len(known) - SHOWN} more" if len(known) > SHOWN else "")
