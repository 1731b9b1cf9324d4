"""The page on the network itself: its layers, what they make of a face, how faces are moved, single faces read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from matplotlib.figure import Figure

from mien.classify import Classifier
from mien.draw import COLOURS, annotate
from mien.errors import InputError, MienError
from mien.explain.architecture import draw_layers, layers_of
from mien.explain.feature_maps import feature_maps
from mien.explain.figures import draw_fused, draw_layer
from mien.explain.transformations import draw_transformations
from mien.faces.detect import make_detector
from mien.files import printable
from mien.labels import FER2013
from mien.media import read_image
from mien.paper.claims import FER2013_COUNTS, TABLE_1
from mien.paper.context import Context
from mien.paper.page import Block, Picture, Section, Table, Text
from mien.preprocess import preprocess
from mien.recognize import Recognizer
from mien.train.models.paper_cnn import PaperCnn
from mien.types import ImageArray, Reading

__all__ = ["architecture", "augmentation", "feature_section", "singles"]

NETWORK = "paper-cnn"


def architecture(_context: Context) -> Section:
    """Table I and Figure 1, from the network as it is built."""
    shape = (1, 48, 48)
    layers = layers_of(PaperCnn(), shape)
    rows = []
    for number, (layer, said) in enumerate(zip(layers, TABLE_1, strict=True), start=1):
        same = (layer.name, layer.kernel, layer.output) == (said.name, said.kernel, said.output)
        rows.append(
            [str(number), layer.name, layer.kernel, _size(layer.output), f"{layer.parameters:,}",
             f"{layer.multiplications:,}", "as the paper's" if same else f"paper: {said.kernel} {_size(said.output)}"]
        )  # fmt: skip
    total = sum(layer.parameters for layer in layers)
    rows.append(["", "all", "", "", f"{total:,}", f"{sum(layer.multiplications for layer in layers):,}", ""])
    return Section(
        "The network (Table I, Figure 1)",
        [
            Text(
                "Every layer of the paper's Table I is built as it stands there. The row of layer 8 is cut off in "
                "print (\"fully connected layer Dr\"); layer 9 reads \"Dropout (0.4)\", and layer 8 was given the same."
            ),
            Table(
                "Our Table I: read off the network, one crop going through it.",
                ["layer", "kind", "kernel", "output", "parameters", "multiplications", "beside the paper"],
                rows,
            ),
            Text(
                "The paper draws the same layers in its Figure 1 and gives no numbers of parameters; most of ours "
                f"stand in the first full connection. Its text counts {FER2013_COUNTS[0]:,} pictures of FER2013, "
                f"{FER2013_COUNTS[1]:,} of them for training; there are 35,887 and 28,709."
            ),
            Picture("figure-1", draw_layers(layers, shape), f"Our Figure 1: the network's maps, {total:,} parameters."),
        ],
    )  # fmt: skip


def feature_section(context: Context) -> Section:
    """Figure 2: every convolution's maps of a face, and their mean."""
    crop, name = _first_crop(context)
    layers = feature_maps(NETWORK, crop)
    blocks: list[Block] = [
        Text(
            "The paper shows the maps of each convolution fused into one picture and does not say how; here they are "
            f"the mean of a layer's maps. The face is from {name}: FER2013's pictures may not be published."
        ),
        Picture("figure-2", draw_fused(crop, layers), "Our Figure 2: a face, and the mean map of each convolution."),
    ]
    blocks += [
        Picture(f"figure-2-layer-{layer.number}", draw_layer(layer), f"All maps of convolution {layer.number}.")
        for layer in layers
    ]
    return Section("What the convolutions see (Figure 2)", blocks)


def augmentation(context: Context) -> Section:
    """Figure 3: one face under each transformation."""
    crop, name = _first_crop(context)
    return Section(
        "Augmentation (Figure 3)",
        [
            Text(
                "The paper speaks of random transformations (section IV.B) and, for its own set, of rotation, lighting "
                "changes and color adjustments (IV.A), and gives no sizes. These are the ones that a recipe of mien "
                "knows, each by itself and stronger than in training; which of them help stands further below."
            ),
            Picture("figure-3", draw_transformations(crop), f"Our Figure 3: the face from {name}, transformed."),
        ],
    )


def singles(context: Context) -> Section:
    """Figure 7: single pictures recognized, with the probabilities."""
    blocks: list[Block] = [
        Text(
            "The paper shows single faces of its own set with the recognized word. Here each face has the "
            "probabilities of all seven, of the network of Table I and of the network that mien reads people with."
        )
    ]
    recognizers = {name: Recognizer.load(name) for name in (NETWORK, "mien")}
    for path, image_rgb in _pictures(context):
        read = {name: recognizer.read(image_rgb) for name, recognizer in recognizers.items()}
        if read["mien"]:
            said = ", ".join(f"{name}: {readings[0].expression}" for name, readings in read.items())
            number = sum(isinstance(block, Picture) for block in blocks) + 1
            figure = _draw_single(image_rgb, read)
            blocks.append(Picture(f"figure-7-{number}", figure, f"Our Figure 7: {printable(path.name)}. {said}."))
    if len(blocks) == 1:
        raise InputError("none of the pictures shows a face; --pictures names others")
    return Section("Single pictures (Figure 7)", blocks)


def _draw_single(image_rgb: ImageArray, read: dict[str, list[Reading]]) -> Figure:
    """Return a picture with its first face marked, beside what each model says of that."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    shown, *bars = figure.subplots(1, 1 + len(read))
    shown.imshow(annotate(image_rgb, read["mien"][:1]))
    shown.set_axis_off()
    for axes, (name, readings) in zip(bars, read.items(), strict=True):
        shares = [100 * readings[0].probabilities[label] for label in FER2013]
        axes.barh(FER2013, shares, color=[COLOURS[label] for label in FER2013])
        axes.set(xlim=(0, 100), xlabel="probability, %", title=name)
        axes.invert_yaxis()
    return figure


def _pictures(context: Context) -> Iterator[tuple[Path, ImageArray]]:
    """Yield the pictures that can be read; those that cannot are left out."""
    for path in context.pictures:
        with suppress(MienError):
            yield path, read_image(path)


def _first_crop(context: Context) -> tuple[ImageArray, str]:
    """Return the first face of the pictures as the network reads it, and its picture's name."""
    spec, detector = Classifier.load(NETWORK).spec, make_detector("dlib")
    for path, image_rgb in _pictures(context):
        if faces := detector(image_rgb):
            return preprocess(image_rgb, faces[:1], spec.crop)[0], printable(path.name)
    raise InputError("no picture with a face to show; --pictures names a folder of some")


def _size(output: tuple[int, ...]) -> str:
    """Return a layer's output as text."""
    return "x".join(map(str, output))
