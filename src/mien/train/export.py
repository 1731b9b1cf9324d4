"""A checkpoint to a self-describing ONNX file; refuses where the two do not give the same answers.

The graph takes uint8 crops (N, S, S) or (N, S, S, 3), any N, and gives probabilities (N, labels) for each answer, the
main one first: scaling, normalisation, temperature and softmax are inside.  Weights are stored as fp16 and cast back in
the graph; batch normalisation is folded into the convolutions before it.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from mien.classify import Classifier, spec_key
from mien.errors import ModelError
from mien.files import atomic_path
from mien.spec import CropSpec, ModelSpec
from mien.train.answers import HeadAnswer
from mien.train.checkpoint import load_predictor
from mien.train.models.layers import CosineLinear
from mien.train.network import Predictor
from mien.types import ImageArray

__all__ = ["drop_unread", "export", "fold_batch_norm", "round_to_half", "store_half"]

TOLERANCE = 1e-4  # of a probability, between PyTorch and ONNX Runtime
OPSET = 18
HALF_FROM_ELEMENTS = 256  # smaller tensors (biases, constants) stay fp32: there is nothing to save


def export(checkpoint: str | Path, out: str | Path) -> ModelSpec:
    """Write the ONNX file of a best.pt, whole or not at all, and return what its main answer says of itself.

    Raises ModelError where the checkpoint is damaged, or where PyTorch with the same fp16-rounded weights and ONNX
    Runtime differ by more than 1e-4 in any probability of some made crops.
    """
    trained, recipe, specs = load_predictor(checkpoint)
    predictor = round_to_half(drop_unread(fold_batch_norm(trained)))
    crops = _checked_with(trained.crop)
    if recipe.model.cosine:  # the direction of next to nothing, which a flat crop leaves, is all rounding
        crops = crops[:-1]
    with atomic_path(out) as temporary:
        onnx.save(_to_onnx(predictor, specs, crops), temporary)
        with torch.no_grad():
            expected = predictor(torch.from_numpy(crops))
        for name, shares in zip(specs, expected, strict=True):
            exported = Classifier.load(temporary, answer=name)
            difference = float(np.abs(exported.predict_once(crops) - shares.numpy()).max())
            if not difference <= TOLERANCE:
                raise ModelError(
                    f"{checkpoint}: the exported network differs from PyTorch's by {difference:.2g}; not written"
                )
    return next(iter(specs.values()))


def _checked_with(crop: CropSpec) -> ImageArray:
    """Return the 64 crops (64, S, S) or (64, S, S, 3) on which both are asked: noise, coarse patterns, one flat crop.

    All noise looks the same to a trained network; coarse patterns bring out different answers.
    """
    generator = np.random.default_rng(0)
    fine = generator.integers(0, 256, (32, *crop.shape), np.uint8)
    coarse = generator.integers(0, 256, (32, 8, 8, *crop.shape[2:]), np.uint8)
    block = -(-crop.size_px // 8)
    patterns = coarse.repeat(block, axis=1).repeat(block, axis=2)[:, : crop.size_px, : crop.size_px]
    patterns[-1] = 128
    return np.concatenate([fine, patterns])


def fold_batch_norm(predictor: Predictor) -> Predictor:
    """Return a copy whose batch normalisations, each behind its convolution or full connection, are folded into it.

    Raises ModelError where one stands elsewhere and would be left over.
    """
    folded = copy.deepcopy(predictor).eval()
    for parent in folded.modules():
        if not isinstance(parent, nn.Sequential):
            continue
        children = list(parent.named_children())
        for (name, layer), (norm_name, norm) in pairwise(children):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(layer, norm))
            elif isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
                setattr(parent, name, fuse_linear_bn_eval(layer, norm))
            else:
                continue
            setattr(parent, norm_name, nn.Identity())
    if any(isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) for module in folded.modules()):
        raise ModelError("a batch normalisation stands elsewhere than behind its layer; it cannot be folded")
    return folded


def drop_unread(predictor: Predictor) -> Predictor:
    """Return a copy whose last layer gives no logits behind those that the answers read, as an auxiliary head's are."""
    read = max(head.columns.stop for head in predictor.modules() if isinstance(head, HeadAnswer))
    kept = copy.deepcopy(predictor)
    last = [layer for layer in kept.network.modules() if isinstance(layer, (nn.Linear, CosineLinear))][-1]
    for parameter in last.parameters():  # a row a logit, in weights and biases alike
        parameter.data = parameter.data[:read]
    return kept


def round_to_half(predictor: Predictor) -> Predictor:
    """Return a copy whose weights of HALF_FROM_ELEMENTS or more elements are rounded to what fp16 can hold."""
    rounded = copy.deepcopy(predictor)
    for parameter in rounded.parameters():
        if parameter.numel() >= HALF_FROM_ELEMENTS:
            parameter.data = parameter.data.half().float()
    return rounded


def _to_onnx(predictor: Predictor, specs: dict[str, ModelSpec], crops: ImageArray) -> onnx.ModelProto:
    """Return the ONNX model with fp16 weights and its description."""
    with _quiet():
        program = torch.onnx.export(
            predictor,
            (torch.from_numpy(crops[:2]),),
            input_names=["crops"],
            output_names=list(specs),
            dynamic_shapes={"crops": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    store_half(model, model.graph.initializer)
    helper.set_model_props(model, {spec_key(name): spec.dumps() for name, spec in specs.items()})
    model.producer_name = "mien"
    # The exporter notes where in which source file each node was traced: paths of the machine that trained it.
    for item in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        del item.metadata_props[:]
        item.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on its own inside (torchvision that is not there, what it will rename) to itself."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        exporter.setLevel(level)


def store_half(model: onnx.ModelProto, weights: Iterable[TensorProto]) -> None:
    """Store those of some weights that are fp32 and large as fp16, cast back by nodes at the head of the graph."""
    casts = []
    for weight in weights:
        if weight.data_type == TensorProto.FLOAT and np.prod(weight.dims) >= HALF_FROM_ELEMENTS:
            values = numpy_helper.to_array(weight).astype(np.float16)
            full_name, half_name = weight.name, f"{weight.name}.fp16"
            weight.CopyFrom(numpy_helper.from_array(values, half_name))
            casts.append(helper.make_node("Cast", [half_name], [full_name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
