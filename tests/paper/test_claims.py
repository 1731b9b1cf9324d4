"""The paper's numbers, against each other and against the network that is built."""

from __future__ import annotations

import numpy as np
import pytest

from mien.explain.architecture import layers_of
from mien.paper.claims import NATURAL_CONFUSION, NATURAL_RATES, TABLE_1, TABLE_2
from mien.train.models.paper_cnn import PaperCnn


def test_table_3_has_the_faces_and_rates_that_the_text_counts() -> None:
    assert NATURAL_CONFUSION.sum(axis=1).tolist() == [37, 22, 38, 141, 30, 43, 85]
    assert (np.trace(NATURAL_CONFUSION), NATURAL_CONFUSION.sum()) == (337, 396)
    rates = np.diag(NATURAL_CONFUSION) / NATURAL_CONFUSION.sum(axis=1)
    assert 100 * rates == pytest.approx([float(rate.rstrip("%")) for rate in NATURAL_RATES], abs=0.01)


def test_the_network_is_that_of_table_1_layer_by_layer() -> None:
    layers = layers_of(PaperCnn(), (1, 48, 48))
    assert [(layer.name, layer.kernel, layer.output) for layer in layers] == [
        (layer.name, layer.kernel, layer.output) for layer in TABLE_1
    ]
    assert sum(layer.parameters for layer in layers) == 8_779_047


def test_the_suggested_model_is_the_last_row_of_table_2() -> None:
    assert (TABLE_2[-1].iterations, TABLE_2[-1].val_accuracy, TABLE_2[-1].test_accuracy) == (76, 0.64, 0.7292)
