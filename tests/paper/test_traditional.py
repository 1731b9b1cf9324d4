"""Features made by hand, and the classifier behind them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.data.manifest import read
from mien.paper.traditional import FEATURES, features_of, fit_classifier


@pytest.mark.parametrize("way", FEATURES)
def test_each_way_tells_bright_bars_apart(way: str, make_dataset: Callable[..., Path]) -> None:
    dataset = read(make_dataset(train=70, val=35))
    rows = {split: dataset.manifest.rows_in(split) for split in ("train", "val")}
    features = {split: features_of(way, dataset.crops[own]) for split, own in rows.items()}
    assert features["train"].shape == (70, features["val"].shape[1])
    assert np.isfinite(features["train"]).all()
    labels = {split: dataset.manifest.label[own] for split, own in rows.items()}
    fitted = fit_classifier(features["train"], labels["train"], features["val"], labels["val"], seed=0)
    assert fitted.score(features["val"], labels["val"]) > 0.9


@pytest.mark.parametrize("way", ["DCT + SVM", "PCA + SVM", "Gabor + SVM", "HOG + SVM"])
def test_light_that_is_added_changes_little(way: str) -> None:
    crop = np.random.default_rng(0).integers(0, 150, (1, 48, 48), np.uint8)
    before, after = features_of(way, crop), features_of(way, crop + 50)
    assert np.abs(before - after).max() < 0.02 * np.abs(before).max()


def test_colour_is_read_as_grey_and_progress_is_told() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (2, 48, 48), np.uint8)
    told: list[tuple[int, int]] = []
    colour = features_of("DCT + SVM", np.repeat(grey[..., None], 3, axis=3), on_progress=lambda *how: told.append(how))
    assert np.allclose(colour, features_of("DCT + SVM", grey), atol=0.1)
    assert told == [(1, 2), (2, 2)]
