"""Grad-CAM: weighted maps of the last convolution, hot where a label's evidence lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.classify import Classifier
from mien.errors import InputError, ModelError
from mien.explain.grad_cam import GradCam
from mien.train import checkpoint
from mien.train.export import export

MakeCheckpoint = Callable[..., Path]


def a_crop(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 48), np.uint8)


@pytest.mark.parametrize("name", ["mobilenet", "paper-cnn", "resnet", "vgg"])
@pytest.mark.parametrize("labels", ["label", "both"])
def test_every_network_of_the_zoo_gives_reasons_for_every_label(
    make_checkpoint: MakeCheckpoint, name: str, labels: str
) -> None:
    cam = GradCam(make_checkpoint(name, labels=labels))
    maps = [cam.heat(a_crop(), label) for label in range(len(cam.spec.labels))]
    for heat in maps:
        assert heat.shape == (48, 48)
        assert heat.dtype == np.float32
        assert float(heat.min()) >= 0
        assert float(heat.max()) == pytest.approx(1) or float(heat.max()) == 0
    assert any(not np.allclose(maps[0], heat) for heat in maps[1:]), "all labels have the same reasons"


def test_the_heat_is_where_the_weighted_maps_are(make_checkpoint: MakeCheckpoint) -> None:
    """A network whose label 0 reads the mean of one map alone: the heat is that map."""
    path = make_checkpoint("resnet")
    content = checkpoint.load(path)
    last = content["weights"]["classifier.3.weight"]
    last.zero_()
    last[0, 2] = 1.0
    checkpoint.save(path, {key: value for key, value in content.items() if key != "format"})
    cam = GradCam(path)
    kept: list[torch.Tensor] = []
    cam._predictor.network.get_submodule("features").register_forward_hook(lambda _m, _i, maps: kept.append(maps))
    heat = cam.heat(a_crop(), 0)
    shown = torch.nn.functional.interpolate(kept[0][:, 2:3], size=(48, 48), mode="bilinear", align_corners=False)
    expected = shown[0, 0].detach().numpy()
    np.testing.assert_allclose(heat, expected / expected.max(), atol=1e-5)


def test_it_answers_as_the_exported_file_does(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    path = make_checkpoint("vgg", labels="both")
    export(path, tmp_path / "model.onnx")
    crops = np.stack([a_crop(seed) for seed in range(4)])
    for answer in ("", "fer2013", "ferplus"):
        cam, exported = GradCam(path, answer=answer), Classifier.load(tmp_path / "model.onnx", answer=answer)
        assert cam.spec == exported.spec
        np.testing.assert_allclose(cam.predict(crops), exported.predict(crops), atol=2e-3)  # fp16 weights


def test_what_is_no_checkpoint_answer_or_crop_is_told(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such checkpoint"):
        GradCam(tmp_path / "missing.pt")
    path = make_checkpoint("vgg")
    with pytest.raises(InputError, match="has no answer 'ferplus'; it has fer2013"):
        GradCam(path, answer="ferplus")
    with pytest.raises(InputError, match=r"expected a crop \(48, 48\)"):
        GradCam(path).heat(a_crop()[:40], 0)
