"""What an ONNX graph says of its own numerics, before any engine of reduced precision runs it.

    graph         the file, read flat; external data outside its folder is refused
    half          what fp16 can hold: range, spacing, rounding
    weights       denormal weights, weights that fp16 cannot hold
    epsilons      guards against division by zero that fp16 rounds away
    activations   the largest value of every tensor on given inputs
    constants     large constants on the way to an output
    operators     operators that TensorRT, or fp16, does not have
    shapes        dimensions that are known only at run time

Each gives plain facts; what they mean for lines is the harness's to say. docs/model-check.md.
"""
