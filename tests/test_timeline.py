"""The timeline shows who was seen when with what, and is no larger in memory after hours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import ImageColor

from mien.draw import COLOURS
from mien.labels import FER2013
from mien.mixture import mix
from mien.timeline import BINS, EMPTY, LANE_PX, LANES, UNSURE, Timeline
from mien.types import ImageArray


def row(time_s: float | None, track: int | None, expression: str = "happy", probability: float = 1.0) -> dict[str, Any]:
    rest = (1 - probability) / (len(FER2013) - 1)
    probabilities = {label: probability if label == expression else rest for label in FER2013}
    mixture = mix(probabilities)
    return {
        "time_s": time_s, "track": track, "probabilities": probabilities,
        "mixture": {"name": mixture.name, "shares": mixture.shares},
    }  # fmt: skip


def columns(image: ImageArray, colour: str) -> list[int]:
    """Return how many pixels of a colour each column below the legend has."""
    found = (image[64:] == ImageColor.getrgb(colour)[:3]).all(axis=2).sum(axis=0)
    return [int(count) for count in found]


def runs(image: ImageArray, colour: str, least: int = 40) -> list[tuple[float, float]]:
    """Return where, in shares of the time, a colour fills most of a lane's height."""
    lane = image[64:]
    used = (lane != 255).any(axis=2).sum(axis=0) >= LANE_PX
    left, right = np.flatnonzero(used)[[0, -1]]
    filled = np.array(columns(image, colour)[left : right + 1]) >= least
    edges = np.flatnonzero(np.diff(np.concatenate([[0], filled, [0]])))
    length = right + 1 - left
    return [(start / length, end / length) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def test_each_expression_is_drawn_when_it_was_shown_and_nothing_where_nobody_was_seen() -> None:
    timeline = Timeline()
    for number in range(200):
        time_s = number / 25
        if not 2 <= time_s < 6:
            timeline.add(row(time_s, 1, "happy" if time_s < 2 else "sad"))
    image = timeline.draw(duration_s=10.0)
    assert image.shape[1] == 1600
    assert runs(image, COLOURS["happy"]) == [pytest.approx((0, 0.2), abs=0.01)]
    assert runs(image, COLOURS["sad"]) == [pytest.approx((0.6, 0.8), abs=0.01)]
    assert runs(image, EMPTY) == [pytest.approx((0.2, 0.6), abs=0.01), pytest.approx((0.8, 1), abs=0.01)]


def test_the_height_of_a_colour_is_the_mean_probability() -> None:
    timeline = Timeline()
    for number in range(400):
        timeline.add(row(number / 400, 1, "happy", 0.5 if number % 2 else 0.9))
    middle = columns(timeline.draw(), COLOURS["happy"])[800]
    assert middle / LANE_PX == pytest.approx(0.7, abs=0.03)


def test_a_frame_now_and_then_stands_until_the_next() -> None:
    timeline = Timeline(every_s=5.0)
    for number in range(6):
        timeline.add(row(5.0 * number, 1))
    assert runs(timeline.draw(), COLOURS["happy"]) == [pytest.approx((0, 1), abs=0.01)]


def test_what_is_unsure_is_underlined() -> None:
    timeline = Timeline()
    for number in range(100):
        timeline.add(row(number / 25, 1, "happy", 0.2 if number < 50 else 1.0))
    under = np.array(columns(timeline.draw(), UNSURE)) >= 4
    assert 0.45 < under.sum() / (1600 - 2 * 24 - 24 - 130) < 0.55


def test_rows_of_pictures_are_passed_over() -> None:
    timeline, empty = Timeline(), Timeline().draw()
    timeline.add(row(None, None))
    timeline.add(row(None, 1))
    assert np.array_equal(timeline.draw(), empty)
    assert (empty != 255).any()  # says so


def test_the_picture_of_hours_is_made_of_as_many_bins_as_that_of_minutes() -> None:
    timeline = Timeline()
    most = 0
    for number in range(40_000):
        timeline.add(row(number / 2, 1, "happy" if number < 20_000 else "sad"))
        most = max(most, len(timeline._tracks[1]))
    assert most <= BINS
    image = timeline.draw()
    assert runs(image, COLOURS["happy"]) == [pytest.approx((0, 0.5), abs=0.02)]
    assert runs(image, COLOURS["sad"]) == [pytest.approx((0.5, 1), abs=0.02)]


def test_of_many_people_those_seen_longest_are_drawn() -> None:
    timeline = Timeline()
    for track in range(1, 101):
        for number in range(track):
            timeline.add(row(number / 10, track, "happy" if track > 100 - LANES else "sad"))
    image = timeline.draw()
    assert max(columns(image, COLOURS["happy"])) == LANES * LANE_PX
    assert max(columns(image, COLOURS["sad"])) == 0
    few = Timeline()
    few.add(row(0.0, 1))
    assert few.draw().shape[0] < 300


@pytest.mark.parametrize("end_s", [0.0, 0.3, 59.9, 600.0, 86_400.0, 1e7])
def test_any_length_is_drawn(end_s: float) -> None:
    timeline = Timeline()
    timeline.add(row(0.0, 1))
    timeline.add(row(end_s, 2))
    image = timeline.draw()
    assert (image[-60:] != 255).any()
