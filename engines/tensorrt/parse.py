"""ONNX into a TensorRT network, with every error of the parser named by its node."""

from __future__ import annotations

from pathlib import Path

from engines.errors import ModelLoadError
from engines.tensorrt.api import Api, Builder, INetworkDefinition, OnnxParser, ParserError
from engines.tensorrt.graph import GraphFacts
from engines.tensorrt.recipe import Typing

__all__ = ["create_network", "parse_onnx"]

SHOWN = 3


def create_network(api: Api, builder: Builder, typing: Typing) -> INetworkDefinition:
    """An empty network of the typing that is asked for; 11.x has strong typing only, 10.x explicit batch only."""
    trt, flags = api.trt, 0
    if api.major == 8:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    elif typing == "strong" and api.weakly_typed:
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
        f"TensorRT {api.version} cannot read the graph: {'; '.join(errors[:SHOWN])}{more}",
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
