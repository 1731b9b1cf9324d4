"""The figures show what was found, from its smallest value to its largest."""

from __future__ import annotations

import numpy as np
import pytest

from mien.explain.feature_maps import Layer
from mien.explain.figures import draw_fused, draw_heat, draw_layer
from mien.labels import FER2013

CROP = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)


@pytest.mark.parametrize("count", [1, 16, 17, 40])
def test_a_layers_sheet_holds_every_map_once(count: int) -> None:
    maps = np.zeros((count, 8, 8), np.float32)
    maps[:, 3, 4] = np.arange(1, count + 1)  # one bright pixel a map, stretched to white in each
    (axes,) = draw_layer(Layer(2, (3, 3), maps)).axes
    (shown,) = axes.get_images()
    sheet = np.asarray(shown.get_array())
    assert sheet.shape == (-(-count // 16) * 9 - 1, min(count, 16) * 9 - 1)
    inside = np.zeros(sheet.shape, bool)
    for number in range(count):
        top, left = number // 16 * 9, number % 16 * 9
        inside[top : top + 8, left : left + 8] = True
        assert sheet[top + 3, left + 4] == 1
    assert sheet[inside].sum() == count
    assert axes.get_title() == f"2: 3x3, {count} maps 8x8"


def test_a_flat_map_is_no_division_by_zero() -> None:
    (axes,) = draw_layer(Layer(1, (1, 1), np.full((1, 4, 4), 0.3, np.float32))).axes
    assert np.isfinite(np.asarray(axes.get_images()[0].get_array())).all()


@pytest.mark.parametrize("layers", [1, 4, 13])
def test_the_crop_stands_before_the_mean_of_each_layer(layers: int) -> None:
    maps = [np.random.default_rng(number).random((3, 6, 6), np.float32) for number in range(layers)]
    figure = draw_fused(CROP, [Layer(number + 1, (3, 3), one) for number, one in enumerate(maps)])
    pictures = [np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes if axes.get_images()]
    np.testing.assert_array_equal(pictures[0], CROP)
    assert len(pictures) == layers + 1
    for picture, one in zip(pictures[1:], maps, strict=True):
        np.testing.assert_allclose(picture, one.mean(axis=0), rtol=1e-6)


def test_heat_is_shown_about_0_beside_the_probabilities_of_all_labels() -> None:
    heat = np.zeros((48, 48), np.float32)
    heat[10, 10], heat[20, 20] = 0.2, -0.4
    shares = dict(zip(FER2013, np.linspace(0, 0.9, 7), strict=True))
    _, covered, bars, _ = draw_heat(CROP, heat, title="why", unit="lost", shares=shares).axes
    _, over = covered.get_images()
    assert over.get_clim() == pytest.approx((-0.4, 0.4))
    assert [bar.get_width() for bar in bars.patches] == pytest.approx(list(np.linspace(0, 90, 7)))  # type: ignore[attr-defined]  # they are rectangles
    assert [label.get_text() for label in bars.get_yticklabels()] == list(FER2013)
