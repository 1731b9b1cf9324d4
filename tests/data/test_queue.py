"""Each annotator has an order of their own, the same one every time."""

from __future__ import annotations

import numpy as np

from mien.data.queue import shuffled, unsure_first

KEYS = [f"{index:016x}" for index in range(200)]


def test_the_order_is_one_of_all_faces_and_the_same_whatever_order_they_come_in() -> None:
    order = shuffled(KEYS, "anna")
    assert order == shuffled(KEYS[::-1], "anna")
    assert sorted(order) == KEYS
    assert order != KEYS


def test_annotators_have_different_orders() -> None:
    assert shuffled(KEYS, "anna") != shuffled(KEYS, "ben")


def test_new_faces_do_not_change_the_order_of_those_that_were_there() -> None:
    before, after = shuffled(KEYS[:100], "anna"), shuffled(KEYS, "anna")
    assert [key for key in after if key in set(before)] == before


def test_the_least_sure_faces_come_first() -> None:
    top = np.linspace(0.3, 0.9, len(KEYS), dtype=np.float32)[:, None]
    probabilities = np.hstack([top, np.repeat((1 - top) / 6, 6, axis=1)]).astype(np.float32)
    order = unsure_first(KEYS, probabilities, "anna")
    assert sorted(order) == KEYS
    assert set(order[:20]) <= set(KEYS[:60])
    assert order == unsure_first(KEYS, probabilities, "anna")
