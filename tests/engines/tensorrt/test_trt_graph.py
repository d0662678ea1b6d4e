import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.errors import ModelLoadError
from engines.tensorrt.graph import read_graph


def saved(path, nodes, weights=(), opset=17, **save):
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, [1, 4])], [info("y", TensorProto.FLOAT, [1, 4])], list(weights)
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path, **save)
    return path


def test_an_fp32_graph_holds_nothing_narrow(tmp_path):
    weights = numpy_helper.from_array(np.ones(4, np.float32), "w")
    facts = read_graph(saved(tmp_path / "a.onnx", [helper.make_node("Mul", ["x", "w"], ["y"])], [weights], opset=16))
    assert (facts.opset, facts.low, facts.quantised) == (16, frozenset(), False)
    assert facts.nodes == ("Mul #0",)  # an unnamed node is told by operator and place


def narrow_weight():
    return [helper.make_node("Cast", ["w"], ["v"], to=1), helper.make_node("Mul", ["x", "v"], ["y"])], [
        numpy_helper.from_array(np.ones(4, np.float16), "w")
    ]


def narrow_cast():
    return [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["a"], ["y"], to=TensorProto.FLOAT),
    ], []


def narrow_constant():
    value = numpy_helper.from_array(np.float16(2), "c")
    return [
        helper.make_node("Constant", [], ["c"], value=value),
        helper.make_node("Cast", ["c"], ["d"], to=1),
        helper.make_node("Mul", ["x", "d"], ["y"]),
    ], []


def narrow_branch():
    inner, _ = narrow_cast()
    info = helper.make_tensor_value_info
    inner[1].output[0] = "z"
    branch = helper.make_graph(inner, "b", [], [info("z", TensorProto.FLOAT, [1, 4])])
    condition = numpy_helper.from_array(np.array(True), "if")
    return [helper.make_node("If", ["if"], ["y"], then_branch=branch, else_branch=branch)], [condition]


@pytest.mark.parametrize("make", [narrow_weight, narrow_cast, narrow_constant, narrow_branch])
def test_narrow_types_are_found_wherever_they_stand(tmp_path, make):
    assert read_graph(saved(tmp_path / "a.onnx", *make())).low == {"FLOAT16"}


def test_quantisation_is_found(tmp_path):
    scale = numpy_helper.from_array(np.float32(0.1), "s")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "s"], ["y"], name="dq"),
    ]
    assert read_graph(saved(tmp_path / "a.onnx", nodes, [scale])).quantised


def test_what_is_no_model_is_one_line(tmp_path):
    (tmp_path / "torn.onnx").write_bytes(b"\x08\xff\xff")
    for path in (tmp_path / "torn.onnx", tmp_path / "absent.onnx"):
        with pytest.raises(ModelLoadError) as caught:
            read_graph(path)
        assert str(path) in caught.value.where
        assert "\n" not in str(caught.value)
