"""A network layer by layer, as it is built, and drawn (the paper, Table I and Figure 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from torch import Tensor, nn

__all__ = ["Layer", "draw_layers", "layers_of"]

#: What a layer is called, and how it is drawn.
KINDS: dict[type[nn.Module], tuple[str, str]] = {
    nn.Conv2d: ("convolution", "#4C78A8"),
    nn.MaxPool2d: ("pooling", "#F58518"),
    nn.Linear: ("full connection", "#54A24B"),
}
DEPTH = 0.35  # how far a box reaches back and up, of its height


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, as a crop goes through it."""

    name: str
    kernel: str  # of a convolution or a pooling, empty elsewhere
    output: tuple[int, ...]  # (C, H, W), or (N,) of a full connection
    parameters: int
    multiplications: int


def layers_of(network: nn.Module, shape: tuple[int, int, int]) -> list[Layer]:
    """Return a network's convolutions, poolings and full connections in the order in which they are run.

    shape: (C, S, S) of one crop.
    """
    found: list[Layer] = []

    def note(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        name, _ = KINDS[type(module)]
        weights = sum(parameter.numel() for parameter in module.parameters())
        size: tuple[int, ...] = tuple(output.shape[1:])
        kernel, multiplications = "", 0
        if isinstance(module, nn.Conv2d):
            kernel = "x".join(map(str, module.kernel_size))
            multiplications = module.weight.numel() * size[1] * size[2]
        elif isinstance(module, nn.MaxPool2d):
            kernel = f"{module.kernel_size}x{module.kernel_size}"
        elif isinstance(module, nn.Linear):
            multiplications = module.weight.numel()
        found.append(Layer(name, kernel, size, weights, multiplications))

    hooks = [module.register_forward_hook(note) for module in network.modules() if type(module) in KINDS]
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def draw_layers(layers: list[Layer], shape: tuple[int, int, int]) -> Figure:
    """Return a drawing: maps as boxes as high as they are, full connections as columns, each with what it is."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_aspect("equal")
    place = _draw_box(axes, 0.0, shape, "0.75", f"crop\n{shape[1]}x{shape[2]}")
    colours = dict(KINDS.values())
    for layer in layers:
        if len(layer.output) == 3:
            text = f"{layer.name}\n{layer.kernel}\n{'x'.join(map(str, layer.output))}"
            place = _draw_box(axes, place, layer.output, colours[layer.name], text)
        else:
            place = _draw_column(
                axes, place, layer.output[0], colours[layer.name], f"full\nconnection\n{layer.output[0]}"
            )
    axes.set_xlim(-2, place)
    axes.set_ylim(-17, 44)
    return figure


def _draw_box(axes: Axes, left: float, shape: tuple[int, ...], colour: str, text: str) -> float:
    """Draw maps as a box whose front is their number and whose side is their size; return where the next one stands."""
    channels, height, _ = shape
    width, back, low = 1 + channels / 24, DEPTH * height, (48 - height) / 2 * 0.6
    right, top = left + width, low + height * 0.6
    axes.add_patch(Rectangle((left, low), width, top - low, facecolor=colour, edgecolor="white"))
    for corners in (
        [(left, top), (left + back, top + back / 2), (right + back, top + back / 2), (right, top)],
        [(right, low), (right + back, low + back / 2), (right + back, top + back / 2), (right, top)],
    ):
        axes.add_patch(Polygon(corners, facecolor=colour, edgecolor="white", alpha=0.6))
    axes.text(left + (width + back) / 2, -4, text, ha="center", va="top", fontsize=8)
    return right + back + 7


def _draw_column(axes: Axes, left: float, nodes: int, colour: str, text: str) -> float:
    """Draw nodes as a column; return where the next one stands."""
    height = min(30.0, 4 + nodes / 70)
    axes.add_patch(Rectangle((left + 3, (29 - height) / 2), 2.5, height, facecolor=colour, edgecolor="white"))
    axes.text(left + 4.2, -4, text, ha="center", va="top", fontsize=8)
    return left + 17
