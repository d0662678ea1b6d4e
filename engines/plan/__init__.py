"""A compiled plan held against the ONNX graph that it was built from.

    owners   which kernel computes each node
    mapping  which ONNX value each tensor of the plan holds, and which values cross from kernel to kernel
    changes  what differs between two plans

The plan is read by engines/tensorrt/kernels.py; nothing here needs TensorRT.
"""
