"""What every convolution of an ONNX model makes of a crop (the paper, Figure 2)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from mien.classify import Classifier
from mien.errors import InputError
from mien.types import FloatArray, ImageArray
from mien.weights import catalogue

__all__ = ["Layer", "feature_maps"]

#: What may stand between a convolution and its activation.  8-bit files often have no activation of their own: what is
#: below 0 is cut off where the maps are brought to 8 bits.
PASSED = {"BatchNormalization", "QuantizeLinear", "DequantizeLinear"}
ACTIVATIONS = {"Relu", "Clip", "HardSwish", "LeakyRelu", "Sigmoid"}


@dataclass(frozen=True, slots=True)
class Layer:
    """The maps of one convolution, after its activation where it has one of its own."""

    number: int  # counted from 1, in the order of the graph
    kernel: tuple[int, ...]  # pixels, (height, width)
    maps: FloatArray  # (K, H, W)

    @property
    def fused(self) -> FloatArray:
        """Return the mean over the maps, (H, W): one map a layer, as the paper's Figure 2 shows them."""
        mean: FloatArray = self.maps.mean(axis=0)
        return mean


def feature_maps(model: str | Path, crop: ImageArray) -> list[Layer]:
    """Return the maps of every convolution for one crop, in the order of the graph; [] where there is none.

    model: a shipped model's name or an ONNX file of `mien train`, 8 bits or not.
    crop: (S, S) or (S, S, 3) uint8, as the model's CropSpec says and `preprocess` makes it.
    Raises ModelError where there is no such model, InputError where it wants another crop.
    """
    spec = Classifier.load(model).spec
    if crop.dtype != np.uint8 or crop.shape != spec.crop.shape:
        raise InputError(f"expected a crop {spec.crop.shape} of uint8; got {crop.shape} of {crop.dtype}")
    opened = onnx.load(catalogue.find(model)[0])
    shown = _outputs_of_convolutions(opened.graph)
    del opened.graph.output[:]
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name, _ in shown)
    if not shown:
        return []
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
    maps = session.run(None, {session.get_inputs()[0].name: crop[None]})
    return [
        Layer(number, kernel, of_one[0].astype(np.float32))
        for number, ((_, kernel), of_one) in enumerate(zip(shown, maps, strict=True), start=1)
    ]


def _outputs_of_convolutions(graph: onnx.GraphProto) -> list[tuple[str, tuple[int, ...]]]:
    """Return, for each convolution, the name of the tensor behind its activation, and its kernel's size."""
    readers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    found = []
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        kernel = next(tuple(attribute.ints) for attribute in node.attribute if attribute.name == "kernel_shape")
        name = last = node.output[0]
        while len(readers[name]) == 1 and readers[name][0].op_type in PASSED | ACTIVATIONS:
            reader = readers[name][0]
            name = reader.output[0]
            if reader.op_type != "QuantizeLinear":  # whose whole numbers are the maps' only in code
                last = name
            if reader.op_type in ACTIVATIONS:
                break
        found.append((last, kernel))
    return found
