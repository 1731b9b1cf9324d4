"""An exported network to one that computes in 8-bit integers: smaller, and faster on a processor."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from mien.classify import Classifier
from mien.errors import ModelError
from mien.files import atomic_path
from mien.preprocess import enhance
from mien.train.export import store_half
from mien.types import ImageArray
from mien.weights import catalogue

__all__ = ["quantise"]

#: What is computed in integers: the trunk.  Its first convolution, which reads the pixels, is left out: in 8 bits it
#: costs half of all that is lost, and it is a small part of the work.  So is what stands behind the last layer with
#: weights: the answers, whose small shares would be cut off.
OPERATIONS = ("Add", "Conv", "MaxPool", "Relu")
BATCH = 64


class _Crops(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime comes without types
    """Hands out batches of crops for measuring how large each map's values get."""

    def __init__(self, name: str, crops: ImageArray) -> None:
        self._batches = iter([{name: crops[start : start + BATCH]} for start in range(0, len(crops), BATCH)])

    def get_next(self) -> dict[str, ImageArray] | None:
        """Return the next batch, None after the last."""
        return next(self._batches, None)


def quantise(model: str | Path, crops: ImageArray, out: str | Path) -> None:
    """Write the ONNX file of `mien train` again with 8-bit weights and maps, whole or not at all.

    crops: (N, S, S) or (N, S, S, 3) uint8, some hundred of the training split, contrast not yet enhanced: they decide
    the range of each map.
    Weights have a range for each channel, and 7 bits of 8: without the instructions made for it, a processor adds
    pairs of 8-bit products in 16 bits, which overflow (ONNX Runtime's documentation on `reduce_range`).
    Raises ModelError where the model is not one of `mien train`, or holds nothing that can be computed so.
    """
    path, _ = catalogue.find(model)
    classifier = Classifier.load(path)
    whole = onnx.load(path)
    convolutions = [node for node in whole.graph.node if node.op_type == "Conv"]
    if len(convolutions) < 2 or _is_quantised(whole):
        raise ModelError(f"{model}: there is no convolution behind the first that is not in 8 bits already")
    convolutions[0].name = convolutions[0].name or "first convolution"  # without a name it could not be told
    _store_full(whole)
    described = [(entry.key, entry.value) for entry in whole.metadata_props]
    with tempfile.TemporaryDirectory() as scratch, atomic_path(out) as temporary:
        plain, prepared = Path(scratch) / "plain.onnx", Path(scratch) / "prepared.onnx"
        onnx.save(whole, plain)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        answers = _name_answers(prepared)
        quantize_static(
            prepared,
            temporary,
            _Crops(whole.graph.input[0].name, enhance(crops, classifier.spec.crop)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(OPERATIONS),
            nodes_to_exclude=[convolutions[0].name, *answers],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        written = onnx.load(temporary)
        # Full connections stay in floats: they came as fp16 and go as such.  Scales are fp32 and stay so.
        in_floats = {node.input[1] for node in written.graph.node if node.op_type in ("Gemm", "MatMul")}
        store_half(written, [weight for weight in written.graph.initializer if weight.name in in_floats])
        onnx.helper.set_model_props(written, dict(described))
        written.producer_name = "mien"
        onnx.checker.check_model(written, full_check=True)
        onnx.save(written, temporary)


def _name_answers(path: Path) -> list[str]:
    """Give each node of a file that no layer with weights reads from, not even by others, a name; return the names."""
    model = onnx.load(path)
    read: set[str] = set()  # by layers with weights
    names = []
    for number, node in enumerate(reversed(model.graph.node)):  # nodes stand in the order in which they are computed
        if node.op_type in ("Conv", "Gemm", "MatMul") or read & set(node.output):
            read |= set(node.input)
        else:
            node.name = node.name or f"answers {number}"
            names.append(node.name)
    onnx.save(model, path)
    return names


def _is_quantised(model: onnx.ModelProto) -> bool:
    """Return whether a model computes in integers already."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def _store_full(model: onnx.ModelProto) -> None:
    """Store weights that are kept as fp16, cast at the head of the graph, as the fp32 that they are cast to."""
    halves = {weight.name: weight for weight in model.graph.initializer if weight.data_type == TensorProto.FLOAT16}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in halves:
            weight = halves[node.input[0]]
            values = numpy_helper.to_array(weight).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(values, node.output[0]))
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
