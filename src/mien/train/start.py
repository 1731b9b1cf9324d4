"""A network that does not begin with fresh weights but with those of an ONNX file of mien's: fine-tuning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from mien.classify import Classifier, spec_key
from mien.errors import InputError, ModelError, RecipeError
from mien.files import sha256_of
from mien.spec import CropSpec, ModelSpec
from mien.train.answers import HEADS, PEOPLE, count_logits, handicap_of
from mien.train.config import Recipe
from mien.train.export import fold_batch_norm
from mien.train.models.registry import build
from mien.train.network import Predictor
from mien.types import FloatArray
from mien.weights import catalogue

__all__ = ["hash_of_start", "read_weights", "start_from", "temperatures_of_start"]

NETWORK = "network."  # before the names of the weights in an exported file: the network is a part of the Predictor
HALF, INTEGERS = ".fp16", "_quantized"  # behind them, where they are kept otherwise than in fp32
HANDICAP = "answers.people.handicap"
ADVICE = "state model.name, widths, depths, kernels, nodes and attention as in the recipe that made the model"


def hash_of_start(recipe: Recipe) -> str:
    """Return the SHA-256 of the file that a recipe starts from, "" for none.  RecipeError where it is not there."""
    if not recipe.model.start:
        return ""
    try:
        return sha256_of(catalogue.find(recipe.model.start)[0])
    except ModelError as error:
        raise RecipeError(f"recipe {recipe.name!r}: it cannot start from that model: {error}") from error


def start_from(network: nn.Module, recipe: Recipe, crop: CropSpec, prior: FloatArray) -> None:
    """Give a recipe's network the weights of the file that the recipe starts from, so that it answers as the file does.

    crop: of the datasets, as the recipe wants it.  prior: (7,) shares of the expressions in the datasets.
    The file's answer `people` is corrected by how frequent the expressions were where it was trained, the new one by
    how frequent they are in the datasets (Menon et al. 2021).  The difference goes into the biases of FER+'s head:
    `people` begins where the file's ends, and the head with the frequencies that it will see.
    Raises RecipeError where the file is not there, or has another network, other heads or other crops than the recipe.
    """
    where = f"recipe {recipe.name!r}: model.start {recipe.model.start!r}"
    if recipe.model.batch_norm:
        raise RecipeError(f"{where} wants model.batch_norm = false: in a model's file it is folded into the weights")
    if recipe.model.name == "vit" or recipe.model.cosine:
        raise RecipeError(f"{where}: the weights of vit and of model.cosine cannot be read off a file")
    if recipe.data.labels == "both" and recipe.people.fer2013_share == 1:
        raise RecipeError(f"{where} wants people.fer2013_share below 1: FER+'s head would answer nothing")
    model, specs = _read(recipe, where)
    _check(specs, recipe, crop, where)
    weights = read_weights(model)
    _fill(network, _in_order(weights, network, recipe, crop, where), where)
    if HANDICAP in weights and PEOPLE in specs and recipe.data.labels == "both":
        handicap = torch.from_numpy(weights[HANDICAP]) - handicap_of(
            torch.from_numpy(prior), recipe.people.logit_adjustment
        )
        _take_over(handicap, network, specs["ferplus"].temperature, recipe, where)


def temperatures_of_start(recipe: Recipe) -> dict[str, float]:
    """Return the temperatures, by name, of the heads that the answer `people` of the file a recipe starts from is of.

    That answer is made of the heads at their temperatures, so that with others it would be another; {} where the recipe
    has no such answer, or starts afresh.  RecipeError where the file is not there.
    """
    if not recipe.model.start or recipe.data.labels != "both":
        return {}
    _, specs = _read(recipe, f"recipe {recipe.name!r}: model.start {recipe.model.start!r}")
    return {head.name: specs[head.name].temperature for head in HEADS["both"]}


def _read(recipe: Recipe, where: str) -> tuple[onnx.ModelProto, dict[str, ModelSpec]]:
    """Return the file that a recipe starts from and what each of its answers says of itself."""
    try:
        path, _ = catalogue.find(recipe.model.start)
        answers = Classifier.load(path).answers
        model = onnx.load(path)
        described = {entry.key: entry.value for entry in model.metadata_props}
        return model, {answer: ModelSpec.loads(described[spec_key(answer)]) for answer in answers}
    except (InputError, ModelError) as error:
        raise RecipeError(f"{where} cannot be used: {error}") from error


def read_weights(model: onnx.ModelProto) -> dict[str, FloatArray]:
    """Return the float constants of an exported file in fp32 by the name that they had in PyTorch's Predictor.

    Those kept as fp16 are cast, those in 8 bits (biases: 32) multiplied with their scale, channel by channel.
    """
    stored = {weight.name: weight for weight in model.graph.initializer}
    weights: dict[str, FloatArray] = {}
    scales: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and all(name in stored for name in node.input):
            settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
            whole, scale, *zero = (numpy_helper.to_array(stored[name]).astype(np.float32) for name in node.input)
            shape = [1] * whole.ndim
            if scale.ndim:
                shape[settings.get("axis", 1)] = -1  # 1: ONNX's own default
            shift = zero[0].reshape(shape) if zero else np.float32(0)
            weights[node.input[0].removesuffix(INTEGERS)] = (whole - shift) * scale.reshape(shape)
            scales.update(node.input)
    for name, weight in stored.items():
        if name not in scales and weight.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16):
            weights[name.removesuffix(HALF)] = numpy_helper.to_array(weight).astype(np.float32)
    return weights


def _check(specs: dict[str, ModelSpec], recipe: Recipe, crop: CropSpec, where: str) -> None:
    """Raise RecipeError where a file has other heads or labels than the recipe, or reads other crops."""
    wanted = {head.name: head.labels for head in HEADS[recipe.data.labels]}
    given = {name: spec.labels for name, spec in specs.items() if name != PEOPLE}
    if given != wanted:
        fitting = [labels for labels, heads in HEADS.items() if {head.name: head.labels for head in heads} == given]
        advice = f"set data.labels = {fitting[0]!r}" if fitting else "name another model"
        raise RecipeError(
            f"{where} has the heads {', '.join(given)}; data.labels = {recipe.data.labels!r} wants "
            f"{', '.join(wanted)} with mien's labels; {advice}"
        )
    read = next(iter(specs.values())).crop
    if read != crop:
        raise RecipeError(f"{where} reads crops as {read}; the data and the recipe give {crop}")


def _in_order(
    weights: dict[str, FloatArray], network: nn.Module, recipe: Recipe, crop: CropSpec, where: str
) -> list[tuple[str, FloatArray]]:
    """Return a file's weights with their names, in the order of the network's parameters.

    A network that was trained with batch normalisation counts the layers that were folded away among its own.
    """
    given = {name for name in weights if name.startswith(NETWORK)}
    names = [NETWORK + name for name, _ in network.named_parameters()]
    if given != set(names):
        names = _names_with_batch_norm(recipe, crop)
    if different := sorted(given ^ set(names)):
        has = "has" if different[0] in given else "lacks"
        raise RecipeError(
            f"{where} is another network than model.name = {recipe.model.name!r} with the recipe's settings: it {has} "
            f"{different[0]}; {ADVICE}"
        )
    return [(name, weights[name]) for name in names]


def _names_with_batch_norm(recipe: Recipe, crop: CropSpec) -> list[str]:
    """Return the names of a recipe's weights, had the network been trained with batch normalisation and exported."""
    with torch.random.fork_rng(devices=()):
        twin = build(replace(recipe.model, batch_norm=True), labels=count_logits(recipe), crop=crop)
    return [name for name, _ in fold_batch_norm(Predictor(twin, crop, {})).named_parameters()]


@torch.no_grad()
def _fill(network: nn.Module, weights: list[tuple[str, FloatArray]], where: str) -> None:
    """Copy weights into a network's parameters, one for one."""
    for (name, parameter), (stored, values) in zip(network.named_parameters(), weights, strict=True):
        if tuple(parameter.shape) != values.shape:
            raise RecipeError(
                f"{where} holds {stored} of {values.shape}; the recipe's network wants {name} of "
                f"{tuple(parameter.shape)}; {ADVICE}"
            )
        parameter.copy_(torch.from_numpy(values))


@torch.no_grad()
def _take_over(handicap: Tensor, network: nn.Module, temperature: float, recipe: Recipe, where: str) -> None:
    """Move a correction (7,) for rare expressions from behind FER+'s head into its biases.

    The answer `people` weighs the head's logits, divided by the head's temperature, with 1 - fer2013_share.
    """
    head = HEADS["both"][-1]
    *_, (name, biases) = network.named_parameters()
    if not name.endswith("bias") or len(biases) != count_logits(recipe):
        raise RecipeError(f"{where}: its last layer has no biases that could bear its correction for rare expressions")
    shift = handicap * temperature / (1 - recipe.people.fer2013_share)
    biases[head.first : head.first + len(handicap)] -= shift
