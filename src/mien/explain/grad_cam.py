"""Where the last convolutions of a trained network see what speaks for a label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mien.errors import InputError
from mien.spec import ModelSpec
from mien.train.checkpoint import load_predictor
from mien.types import FloatArray, ImageArray

__all__ = ["GradCam"]


class GradCam:
    """A checkpoint's network, opened to be asked for reasons.

    Source: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization".
    """

    def __init__(self, checkpoint: str | Path, *, answer: str = "") -> None:
        """Open a best.pt of `mien train`.

        answer: which of its answers, by name; empty: the main one.
        Raises ModelError where the file is missing, damaged or not ours, InputError where there is no such answer.
        """
        self._predictor, _, specs = load_predictor(checkpoint)
        if answer and answer not in specs:
            raise InputError(f"{checkpoint}: has no answer {answer!r}; it has {', '.join(specs)}")
        self._answer = self._predictor.answer(answer)
        self.spec: ModelSpec = specs[answer or next(iter(specs))]

    def predict(self, crops: ImageArray) -> FloatArray:
        """Return the probabilities (N, L) of crops (N, S, S) or (N, S, S, 3) uint8, as the exported file gives them.

        Where the spec says mirror, they are averaged with those of the mirrored crops.
        """
        views = [crops, crops[:, :, ::-1]] if self.spec.mirror else [crops]
        with torch.no_grad():
            read = [self._answer(self._predictor.logits(torch.from_numpy(view.copy()))) for view in views]
        shares: FloatArray = torch.stack(read).mean(dim=0).numpy()
        return shares

    def heat(self, crop: ImageArray, label: int) -> FloatArray:
        """Return what speaks for a label at each pixel of a crop, (S, S) float32 from 0 to 1; all 0 where nothing does.

        The maps behind the last convolution are weighted by the mean gradient of the label's score by each, summed,
        cut off at 0 and enlarged.  The score is what the answer's softmax is taken of.
        Raises InputError where the model wants another crop.
        """
        if crop.dtype != np.uint8 or crop.shape != self.spec.crop.shape:
            raise InputError(f"expected a crop {self.spec.crop.shape} of uint8; got {crop.shape} of {crop.dtype}")
        kept: list[torch.Tensor] = []
        features = self._predictor.network.get_submodule("features")
        last = [layer for layer in features.children() if not isinstance(layer, nn.MaxPool2d)][-1]
        hook = last.register_forward_hook(lambda _module, _inputs, maps: kept.append(maps))
        try:
            logits = self._predictor.logits(torch.from_numpy(crop[None].copy()))
        finally:
            hook.remove()
        score = self._answer.scores(logits)[0, label]
        (gradient,) = torch.autograd.grad(score, kept[0])
        maps = functional.relu((kept[0] * gradient.mean(dim=(2, 3), keepdim=True)).sum(dim=1, keepdim=True))
        enlarged = functional.interpolate(maps, size=crop.shape[:2], mode="bilinear", align_corners=False)[0, 0]
        heat: FloatArray = (enlarged / enlarged.max().clamp(min=1e-12)).detach().numpy()
        return heat
