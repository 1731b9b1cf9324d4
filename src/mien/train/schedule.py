"""How the learning rate and the size of the crops move over a run."""

from __future__ import annotations

import math

from mien.train.config import OptimiserConfig

__all__ = ["learning_rate_at", "size_at"]


def learning_rate_at(config: OptimiserConfig, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step, counted from 0 over the whole run: a linear warm-up, then the schedule."""
    warmup = config.warmup_epochs * steps_per_epoch
    total = config.epochs * steps_per_epoch
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
    if config.schedule == "step":
        return config.learning_rate * 0.5 ** int(10 * progress)
    return config.learning_rate


def size_at(config: OptimiserConfig, epoch: int) -> int:
    """Return the side in pixels that crops are brought to in an epoch, counted from 1; 0: as they are.

    The run is cut into as many equal parts as there are sizes; one of fewer epochs takes the last sizes.  Small crops
    first save time and cost little (Tan and Le 2021, "EfficientNetV2", section 4, where pictures grow likewise).
    """
    sizes = config.sizes_px[-config.epochs :]
    return sizes[(epoch - 1) * len(sizes) // config.epochs] if sizes else 0
