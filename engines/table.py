"""The table of engines: where each lives, what it is, and where it hangs in the ladder.

An engine descends from its `parent`: the nearest one that computes the same but for its `factors`. A factor is a kind
(`export`, `graph-optimisation`, `runtime`, `precision`, `accumulation`, `car`) and, after a colon, which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["TABLE", "Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One engine.

    Attributes:
        module: where it lives.
        family: engines that share a runtime.
        summary: what it is in one line.
        options: what its name stands for.
        parent: the engine it descends from; empty for the root.
        factors: in what it differs from its parent.
    """

    module: str
    family: str
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)
    parent: str = ""
    factors: tuple[str, ...] = ()


TABLE: dict[str, Entry] = {
    "torch-fp32": Entry("engines.torch_engine", "torch", "PyTorch, fp32, TF32 off", {"precision": "fp32"}),
    "torch-fp16": Entry("engines.torch_engine", "torch", "PyTorch, module.half()",
        {"precision": "fp16"}, "torch-fp32", ("precision:fp16",)),
    "torch-bf16": Entry("engines.torch_engine", "torch", "PyTorch, module.bfloat16()",
        {"precision": "bf16"}, "torch-fp32", ("precision:bf16",)),
    "torch-autocast-fp16": Entry("engines.torch_engine", "torch", "PyTorch, fp32 module under fp16 autocast",
        {"precision": "autocast-fp16"}, "torch-fp32", ("precision:autocast-fp16",)),
    "torch-autocast-bf16": Entry("engines.torch_engine", "torch", "PyTorch, fp32 module under bf16 autocast",
        {"precision": "autocast-bf16"}, "torch-fp32", ("precision:autocast-bf16",)),
    "torch-tf32": Entry("engines.torch_engine", "torch", "PyTorch on CUDA, TF32 allowed",
        {"precision": "tf32"}, "torch-fp32", ("precision:tf32",)),
    "torch-compile": Entry("engines.torch_engine", "torch", "torch.compile, fp32, TF32 off",
        {"precision": "compile"}, "torch-fp32", ("runtime:compile",)),
    "ort-fp32-none": Entry("engines.ort_engine", "ort", "ONNX Runtime CPU, unoptimised export, optimisation off",
        {"level": "none"}, "torch-fp32", ("export",)),
    "ort-fp32": Entry("engines.ort_engine", "ort", "ONNX Runtime CPU, every graph optimisation",
        {"level": "all"}, "ort-fp32-none", ("graph-optimisation",)),
    "ort-fp32-basic": Entry("engines.ort_engine", "ort", "ONNX Runtime CPU, basic optimisation",
        {"level": "basic"}, "ort-fp32-none", ("graph-optimisation:basic",)),
    "ort-fp32-extended": Entry("engines.ort_engine", "ort", "ONNX Runtime CPU, basic and extended optimisation",
        {"level": "extended"}, "ort-fp32-none", ("graph-optimisation:extended",)),
    "ort-cuda-fp32": Entry("engines.ort_engine", "ort", "ONNX Runtime CUDA, TF32 off",
        {"level": "all", "provider": "cuda-fp32"}, "ort-fp32", ("runtime:cuda",)),
    "ort-cuda-tf32": Entry("engines.ort_engine", "ort", "ONNX Runtime CUDA, TF32 allowed",
        {"level": "all", "provider": "cuda-tf32"}, "ort-cuda-fp32", ("precision:tf32",)),
    "ort-trt-fp32": Entry("engines.ort_engine", "ort", "ONNX Runtime's TensorRT provider, fp32",
        {"level": "all", "provider": "trt-fp32"}, "ort-fp32", ("runtime:ort-tensorrt",)),
    "ort-trt-fp16": Entry("engines.ort_engine", "ort", "ONNX Runtime's TensorRT provider, fp16",
        {"level": "all", "provider": "trt-fp16"}, "ort-trt-fp32", ("precision:fp16",)),
    "openvino-fp32": Entry("engines.openvino", "openvino", "OpenVINO CPU, fp32",
        {"precision": "fp32"}, "ort-fp32", ("runtime:openvino",)),
    "openvino-fp16": Entry("engines.openvino", "openvino", "OpenVINO CPU, real fp16",
        {"precision": "fp16"}, "openvino-fp32", ("precision:fp16",)),
    "openvino-bf16": Entry("engines.openvino", "openvino", "OpenVINO CPU, real bf16",
        {"precision": "bf16"}, "openvino-fp32", ("precision:bf16",)),
    "emulated-tf32": Entry("engines.emulated", "emulated", "operands of products rounded to TF32",
        {"method": "tf32"}, "ort-fp32", ("precision:tf32",)),
    "emulated-fp16": Entry("engines.emulated", "emulated", "fp16 after every operator",
        {"method": "fp16"}, "ort-fp32", ("precision:fp16",)),
    "emulated-fp16-fused": Entry("engines.emulated", "emulated", "fp16 at the ends of fused kernels",
        {"method": "fp16", "fused": True}, "ort-fp32", ("precision:fp16-fused",)),
    "emulated-bf16": Entry("engines.emulated", "emulated", "bfloat16 after every operator",
        {"method": "bf16"}, "ort-fp32", ("precision:bf16",)),
    "emulated-bf16-fused": Entry("engines.emulated", "emulated", "bfloat16 at the ends of fused kernels",
        {"method": "bf16", "fused": True}, "ort-fp32", ("precision:bf16-fused",)),
    "emulated-mma-fp16": Entry("engines.mma", "emulated", "fp16, products as chains of tensor-core steps",
        {"method": "fp16"}, "emulated-fp16-fused", ("accumulation:mma-fp16",)),
    "emulated-mma-bf16": Entry("engines.mma", "emulated", "bfloat16, products as chains of tensor-core steps",
        {"method": "bf16"}, "emulated-bf16-fused", ("accumulation:mma-bf16",)),
    "emulated-mma-fp16-plan": Entry("engines.mma", "emulated", "fp16 stored as a plan does, products as those chains",
        {"method": "fp16", "plan": "plan"}, "emulated-fp16:plan", ("accumulation:mma-fp16",)),
    "emulated-mma-bf16-plan": Entry("engines.mma", "emulated", "bf16 stored as a plan does, products as those chains",
        {"method": "bf16", "plan": "plan"}, "emulated-bf16:plan", ("accumulation:mma-bf16",)),
    "emulated-mma-tf32": Entry("engines.mma", "emulated", "TF32, products as chains of tensor-core steps",
        {"method": "tf32"}, "emulated-tf32:rz", ("accumulation:mma-tf32",)),
    "emulated-reorder": Entry("engines.emulated", "emulated", "fp32, sums in another order",
        {"method": "reorder"}, "ort-fp32", ("accumulation:reorder",)),
    "trt-fp32": Entry("engines.tensorrt", "trt", "TensorRT, fp32, TF32 off",
        {"precision": "fp32"}, "ort-fp32", ("runtime:tensorrt",)),
    "trt-tf32": Entry("engines.tensorrt", "trt", "TensorRT, fp32, TF32 allowed",
        {"precision": "tf32"}, "trt-fp32", ("precision:tf32",)),
    "trt-fp16": Entry("engines.tensorrt", "trt", "TensorRT, fp16 as the card says",
        {"precision": "fp16"}, "trt-fp32", ("precision:fp16",)),
    "trt-bf16": Entry("engines.tensorrt", "trt", "TensorRT, bf16 as the card's fp16 says",
        {"precision": "bf16"}, "trt-fp32", ("precision:bf16",)),
    "trt-int8": Entry("engines.tensorrt", "trt", "TensorRT, int8: Q/DQ or a cache",
        {"precision": "int8"}, "trt-fp32", ("precision:int8",)),
    "trtrtx-fp32": Entry("engines.tensorrt", "trtrtx", "TensorRT for RTX, fp32, TF32 off",
        {"precision": "fp32"}, "ort-fp32", ("runtime:tensorrt-rtx",)),
    "trtrtx-tf32": Entry("engines.tensorrt", "trtrtx", "TensorRT for RTX, fp32, TF32 allowed",
        {"precision": "tf32"}, "trtrtx-fp32", ("precision:tf32",)),
    "trtrtx-fp16": Entry("engines.tensorrt", "trtrtx", "TensorRT for RTX, fp16 by the graph's types",
        {"precision": "fp16"}, "trtrtx-fp32", ("precision:fp16",)),
    "trtrtx-bf16": Entry("engines.tensorrt", "trtrtx", "TensorRT for RTX, bf16 by the graph's types",
        {"precision": "bf16"}, "trtrtx-fp32", ("precision:bf16",)),
    "command": Entry("engines.command", "command", "any program, by [command.NAME] of the card",
        {}, "ort-fp32", ("runtime:command",)),
    "recorded": Entry("engines.recorded", "recorded", "outputs dumped elsewhere, aligned by timestamp",
        {}, "ort-fp32", ("car",)),
}  # fmt: skip
