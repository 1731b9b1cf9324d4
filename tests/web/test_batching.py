"""Crops of many requests in one batch: each gets its own probabilities, and nobody waits for nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.classify import Classifier
from mien.types import FloatArray, ImageArray
from mien.web.batching import Batcher


class Network:
    """Answers each crop with its own first pixel, once it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.batches: list[int] = []

    def __call__(self, crops: ImageArray) -> FloatArray:
        self.let.wait(10)
        self.batches.append(len(crops))
        return crops[:, 0, :1].astype(np.float32)


def crops_of(*values: int) -> ImageArray:
    return np.stack([np.full((2, 2), value, np.uint8) for value in values])


def test_what_waits_is_read_at_once_and_each_gets_its_own() -> None:
    network = Network()
    batcher = Batcher(network)
    first = batcher.submit(crops_of(1))
    rest = [batcher.submit(crops_of(10 * each, 10 * each + 1)) for each in range(1, 6)]
    network.let.set()
    assert first.result(10).tolist() == [[1]]
    for each, told in enumerate(rest, start=1):
        assert told.result(10).tolist() == [[10 * each], [10 * each + 1]]
    batcher.close()
    assert len(network.batches) <= 2
    assert sum(network.batches) == 11


def test_a_batch_has_no_more_than_it_needs_to_be_full() -> None:
    network = Network()
    batcher = Batcher(network)
    told = [batcher.submit(crops_of(*range(40))) for _ in range(5)]
    network.let.set()
    for one in told:
        assert len(one.result(10)) == 40
    batcher.close()
    assert max(network.batches) <= 80  # 64, and what the last request brings


def test_one_given_up_is_left_out() -> None:
    network = Network()
    batcher = Batcher(network)
    first, second, third = (batcher.submit(crops_of(each)) for each in (1, 2, 3))
    assert second.cancel() or second.done()
    network.let.set()
    assert (first.result(10).tolist(), third.result(10).tolist()) == ([[1]], [[3]])
    batcher.close()


def test_an_error_is_told_to_those_who_wait_and_the_next_batch_is_read() -> None:
    def predict(crops: ImageArray) -> FloatArray:
        if 13 in crops:
            raise ValueError("unlucky")
        return crops[:, 0, :1].astype(np.float32)

    batcher = Batcher(predict)
    with pytest.raises(ValueError, match="unlucky"):
        batcher.submit(crops_of(13)).result(10)
    assert batcher.submit(crops_of(5)).result(10).tolist() == [[5]]
    batcher.close()


def test_a_face_is_read_the_same_alone_and_in_company(make_model: Callable[..., Path]) -> None:
    classifier = Classifier.load(make_model())
    crops = np.random.default_rng(0).integers(0, 256, (9, *classifier.spec.crop.shape), np.uint8)
    batcher = Batcher(classifier.predict)
    told = [batcher.submit(crop[None]) for crop in crops]
    read = np.concatenate([one.result(10) for one in told])
    batcher.close()
    assert np.allclose(read, classifier.predict(crops), atol=1e-6)
