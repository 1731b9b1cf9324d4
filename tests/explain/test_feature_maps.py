"""The maps that are shown are those that the network computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mien.errors import InputError, ModelError
from mien.explain.feature_maps import Layer, feature_maps
from mien.train.checkpoint import load_predictor
from mien.train.export import export, fold_batch_norm, round_to_half
from mien.train.network import normalise, to_input
from mien.train.quantise import quantise

MakeModel = Callable[..., Path]
MakeCheckpoint = Callable[..., Path]


def a_crop(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    return coarse.repeat(6, axis=0).repeat(6, axis=1)


@pytest.mark.parametrize(("name", "convolutions"), [("paper-cnn", 4), ("vgg", 4), ("resnet", 7), ("mobilenet", 7)])
def test_every_convolution_is_shown_with_what_pytorch_computes(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, name: str, convolutions: int
) -> None:
    path = make_checkpoint(name)
    export(path, tmp_path / "model.onnx")
    layers = feature_maps(tmp_path / "model.onnx", a_crop())
    predictor = round_to_half(fold_batch_norm(load_predictor(path)[0]))
    computed: list[tuple[tuple[int, ...], np.ndarray]] = []

    def note(module: nn.Conv2d, _inputs: object, maps: torch.Tensor) -> None:
        computed.append((module.kernel_size, maps[0].numpy()))

    for module in predictor.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    with torch.no_grad():
        predictor.network(normalise(to_input(torch.from_numpy(a_crop()[None])), predictor.crop))
    assert len(layers) == len(computed) == convolutions
    assert [layer.number for layer in layers] == list(range(1, convolutions + 1))
    shown: set[int] = set()
    for layer in layers:
        distances = {
            index: min(
                float(np.abs(layer.maps - given).max()) for given in (maps, np.maximum(maps, 0), maps.clip(0, 6))
            )
            for index, (kernel, maps) in enumerate(computed)
            if kernel == layer.kernel and maps.shape == layer.maps.shape
        }
        nearest = min(distances, key=lambda index: distances[index])
        assert distances[nearest] < 1e-3, layer.number
        shown.add(nearest)
    assert len(shown) == convolutions, "one is shown twice"


def test_a_convolution_is_shown_behind_its_activation(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    export(make_checkpoint("paper-cnn"), tmp_path / "model.onnx")
    for layer in feature_maps(tmp_path / "model.onnx", a_crop()):
        assert float(layer.maps.min()) == 0
        assert float(layer.maps.max()) > 0


def test_8_bit_files_show_nearly_the_same(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    export(make_checkpoint("vgg"), tmp_path / "model.onnx")
    quantise(tmp_path / "model.onnx", np.stack([a_crop(seed) for seed in range(16)]), tmp_path / "small.onnx")
    plain, small = (feature_maps(tmp_path / name, a_crop()) for name in ("model.onnx", "small.onnx"))
    assert [layer.maps.shape for layer in small] == [layer.maps.shape for layer in plain]
    for one, other in zip(plain, small, strict=True):
        assert np.corrcoef(one.maps.ravel(), other.maps.ravel())[0, 1] > 0.99


def test_the_fusion_is_the_mean_over_the_maps() -> None:
    maps = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_allclose(Layer(1, (3, 3), maps).fused, (maps[0] + maps[1]) / 2)


def test_a_model_without_convolutions_has_none(make_model: MakeModel) -> None:
    assert feature_maps(make_model(), a_crop()) == []


def test_what_is_no_crop_or_no_model_is_told(make_model: MakeModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a crop \(48, 48\)"):
        feature_maps(make_model(), np.zeros((40, 40), np.uint8))
    with pytest.raises(ModelError, match=r"missing\.onnx"):
        feature_maps(tmp_path / "missing.onnx", a_crop())
