"""What a network costs: its parameters and the multiplications of one crop, read off its ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

__all__ = ["Cost", "cost_of"]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the convolutions and full connections; products of maps with each other, as in attention, are left aside."""

    parameters: int  # weights and biases
    multiplications: int  # of one crop, without its mirror image


def cost_of(path: str | Path) -> Cost:
    """Return what the network in an ONNX file of `mien train` costs, in floats or in 8 bits."""
    inferred = onnx.shape_inference.infer_shapes(onnx.load(path))
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inferred.graph.value_info
    }
    weights = {weight.name: list(weight.dims) for weight in inferred.graph.initializer}
    for node in inferred.graph.node:  # weights behind a cast or in 8 bits
        if node.op_type in ("Cast", "DequantizeLinear") and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    parameters = multiplications = 0
    connected: set[str] = set()  # what full connections without a bias of their own give: it is added by the next node
    for node in inferred.graph.node:
        if node.op_type == "Add" and connected & set(node.input):
            parameters += sum(int(np.prod(weights[name])) for name in node.input if name in weights)
        if node.op_type not in ("Conv", "Gemm", "MatMul") or node.input[1] not in weights:
            continue
        count, shape = int(np.prod(weights[node.input[1]])), shapes.get(node.output[0], [])
        parameters += count + sum(int(np.prod(weights.get(name, [0]))) for name in node.input[2:])
        multiplications += count * int(np.prod(shape[2:] if node.op_type == "Conv" else shape[1:-1]))
        if node.op_type == "MatMul":
            connected.add(node.output[0])
    return Cost(parameters, multiplications)
