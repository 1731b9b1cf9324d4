"""The last layer that compares directions alone."""

from __future__ import annotations

import torch
from torch.nn import functional

from mien.train.models.layers import COSINE_SCALE, CosineLinear


def test_logits_of_directions_are_their_cosines_scaled() -> None:
    layer = CosineLinear(5, 3)
    inputs = torch.randn(4, 5)
    cosines = functional.cosine_similarity(inputs[:, None], layer.weight[None], dim=2)
    torch.testing.assert_close(layer(inputs), COSINE_SCALE * cosines)
    torch.testing.assert_close(layer(inputs * 7), layer(inputs))
    extremes = layer(torch.stack([layer.weight[1], -layer.weight[1]]))[:, 1]
    torch.testing.assert_close(extremes, torch.tensor([COSINE_SCALE, -COSINE_SCALE]))
