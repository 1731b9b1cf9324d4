"""Copies make labels as many as the most frequent one, and show the same face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.data import balance
from mien.data.balance import copies_wanted, turned_and_relit
from mien.data.build import view_crop
from mien.faces.crop import cut
from mien.spec import CropSpec
from mien.types import Face


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(0, 99))
def test_every_label_becomes_as_many_as_the_most_frequent(labels: list[int], seed: int) -> None:
    label = np.array(labels)
    copied = copies_wanted(label, seed=seed)
    counts = np.bincount(np.concatenate([label, label[copied]]))
    assert set(counts[counts > 0].tolist()) == {int(np.bincount(label).max())}
    times = np.bincount(copied, minlength=len(label))
    for each in set(labels):
        assert np.ptp(times[label == each]) <= 1, "none is copied twice before all are copied once"


def test_copies_are_the_same_face_seen_otherwise() -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    picture = cv2.resize(coarse, (600, 600), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    face, spec = Face(np.array([220, 230, 380, 390], np.float32), None, 1.0), CropSpec()
    own = cut(picture, face, spec).astype(float)
    view = cut(picture, face, view_crop(spec))
    likest = []
    for seed in range(20):
        copy = turned_and_relit(view, spec, np.random.default_rng(seed)).astype(float)
        assert copy.shape == (48, 48)
        assert not np.array_equal(copy, own)
        angles = [
            cv2.warpAffine(copy, cv2.getRotationMatrix2D((23.5, 23.5), angle, 1), (48, 48))
            for angle in range(-16, 17, 2)
        ]
        inner = slice(12, 36)
        likest.append(max(
            np.corrcoef(each[inner, inner].ravel(), own[inner, inner].ravel())[0, 1]
            for turned in angles for each in (turned, turned[:, ::-1])
        ))  # fmt: skip
    assert min(likest) > 0.9, "turned back and mirrored back it is the crop, in another light"


def test_the_same_generator_makes_the_same_copy() -> None:
    view = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    first, second = (turned_and_relit(view, CropSpec(colour="rgb"), np.random.default_rng(5)) for _ in range(2))
    assert first.shape == (48, 48, 3)
    assert np.array_equal(first, second)


def test_a_copy_of_a_picture_that_is_a_face_shows_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROTATION_DEG", "BRIGHTNESS", "CONTRAST", "GAMMA", "COLOUR"):
        monkeypatch.setattr(balance, name, 0.0)
    view = np.full((96, 96, 3), 128, np.uint8)
    view[:10] = view[-10:] = 0
    whole, cut_out = (
        turned_and_relit(view, CropSpec(), np.random.default_rng(0), framed=framed) for framed in (True, False)
    )
    assert whole[:4].max() < 20
    assert whole[-4:].max() < 20
    assert cut_out.min() > 100
