"""Parameters and multiplications, read off ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.explain.architecture import draw_layers, layers_of
from mien.paper.cost import cost_of
from mien.train.models.paper_cnn import PaperCnn
from mien.train.quantise import quantise
from mien.weights import catalogue


@pytest.mark.parametrize("bits", [32, 8])
def test_a_file_costs_what_its_layers_do_in_floats_and_in_8_bits(bits: int, tmp_path: Path) -> None:
    layers = layers_of(PaperCnn(), (1, 48, 48))
    path, _ = catalogue.find("paper-cnn")
    if bits == 8:
        crops = np.random.default_rng(0).integers(0, 256, (8, 48, 48), np.uint8)
        quantise(path, crops, tmp_path / "int8.onnx")
        path = tmp_path / "int8.onnx"
    cost = cost_of(path)
    assert cost.multiplications == sum(layer.multiplications for layer in layers) == 73_038_848
    assert cost.parameters == sum(layer.parameters for layer in layers)


def test_a_drawing_names_every_layer() -> None:
    layers = layers_of(PaperCnn(), (1, 48, 48))
    (axes,) = draw_layers(layers, (1, 48, 48)).axes
    told = [text.get_text() for text in axes.texts]
    assert len(told) == 1 + len(layers)
    assert "convolution\n5x5\n32x44x44" in told
    assert "full\nconnection\n2048" in told
