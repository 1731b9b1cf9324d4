"""What `mien explain` found, as pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mien.draw import COLOURS
from mien.explain.feature_maps import Layer
from mien.types import FloatArray, ImageArray

__all__ = ["draw_fused", "draw_heat", "draw_layer"]

COLUMNS = 16  # maps in a row
FUSED_COLUMNS = 6
HEAT = "RdBu_r"  # red: speaks for the label; blue: against it


def draw_layer(layer: Layer) -> Figure:
    """Return every map of a layer, each from its smallest value (black) to its largest (white)."""
    sheet = _contact_sheet(layer.maps)
    figure = Figure(figsize=(12, 12 * sheet.shape[0] / sheet.shape[1] + 0.4), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_title(_title(layer), fontsize=10)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    return figure


def _contact_sheet(maps: FloatArray) -> FloatArray:
    """Return maps (K, H, W) side by side in rows, each from 0 to 1, white lines between them."""
    count, height, width = maps.shape
    columns = min(COLUMNS, count)
    gap = max(1, height // 16)
    sheet = np.ones((math.ceil(count / columns) * (height + gap) - gap, columns * (width + gap) - gap), np.float32)
    least, largest = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    for number, one in enumerate((maps - least) / np.maximum(largest - least, 1e-12)):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        sheet[top : top + height, left : left + width] = one
    return sheet


def draw_fused(crop: ImageArray, layers: Sequence[Layer]) -> Figure:
    """Return the crop and the mean map of each layer beside it."""
    columns = min(FUSED_COLUMNS, len(layers) + 1)
    rows = math.ceil((len(layers) + 1) / columns)
    figure = Figure(figsize=(1.9 * columns, 2.2 * rows), layout="constrained")
    grid = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axes in grid:
        axes.set_axis_off()
    _show_crop(grid[0], crop)
    grid[0].set_title("crop", fontsize=8)
    for axes, layer in zip(grid[1:], layers, strict=False):
        axes.imshow(layer.fused, cmap="gray", interpolation="nearest")
        axes.set_title(_title(layer), fontsize=8)
    return figure


def draw_heat(crop: ImageArray, heat: FloatArray, *, title: str, unit: str, shares: Mapping[str, float]) -> Figure:
    """Return the crop, the crop under a map of what speaks for a label, and the probabilities of all labels.

    heat: (S, S), 0 where a pixel says nothing.  unit: what the numbers of the map are.
    """
    figure = Figure(figsize=(9, 3), layout="constrained")
    plain, covered, bars = figure.subplots(1, 3)
    for axes in (plain, covered):
        axes.set_axis_off()
        _show_crop(axes, crop)
    reach = max(float(np.abs(heat).max()), 1e-6)
    shown = covered.imshow(heat, cmap=HEAT, alpha=0.55, vmin=-reach, vmax=reach, interpolation="bilinear")
    covered.set_title(title, fontsize=9)
    figure.colorbar(shown, ax=covered, label=unit, shrink=0.8)
    labels = list(shares)
    bars.barh(labels, [100 * shares[label] for label in labels], color=[COLOURS.get(label, "0.5") for label in labels])
    bars.set(xlim=(0, 100), xlabel="probability, %")
    bars.invert_yaxis()
    return figure


def _show_crop(axes: Axes, crop: ImageArray) -> None:
    """Show a grey or coloured crop."""
    axes.imshow(crop, cmap="gray", vmin=0, vmax=255, interpolation="nearest")


def _title(layer: Layer) -> str:
    """Return what a layer is in a line."""
    count, height, width = layer.maps.shape
    kernel = "x".join(map(str, layer.kernel))
    return f"{layer.number}: {kernel}, {count} maps {height}x{width}"
