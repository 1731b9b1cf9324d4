"""Faces through time: who is who over motion, losses, crossings and cuts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.faces.boxes import overlap
from mien.faces.cuts import CutFinder
from mien.faces.track import DETECT_EVERY_S, Tracker
from mien.faces.tracked import Tracked
from mien.media import read_image
from mien.types import Face, FloatArray, ImageArray

RATE = 25
SIDE = 60  # of a head, in pixels
WIDTH, HEIGHT = 480, 200


def noise(seed: int, height: int = HEIGHT, width: int = WIDTH, *, grain: float = 2.0) -> ImageArray:
    """Return a picture of soft coloured noise."""
    drawn = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, (height, width, 3)), (0, 0), grain)
    return np.asarray(np.clip(110 + 40 * drawn / drawn.std(), 0, 255), np.uint8)


def box_at(x: float, y: float) -> FloatArray:
    return np.array([x - SIDE / 2, y - SIDE / 2, x + SIDE / 2, y + SIDE / 2], np.float32)


def scene(background: ImageArray, heads: Sequence[tuple[ImageArray, float, float]]) -> ImageArray:
    """Return a picture with heads at their places, the last one in front."""
    image = background.copy()
    for head, x, y in heads:
        left, top = round(x) - head.shape[1] // 2, round(y) - head.shape[0] // 2
        image[top : top + head.shape[0], left : left + head.shape[1]] = head
    return image


class Fake:
    """A detector that finds what it is told to find, and counts how often it was asked."""

    def __init__(self) -> None:
        self.boxes: list[FloatArray] = []
        self.asked = 0

    def __call__(self, image_rgb: ImageArray) -> list[Face]:
        self.asked += 1
        return [Face(box, None, 0.9) for box in self.boxes]


class Watch:
    """A tracker at work: what it showed of each frame, and who was who in the end."""

    def __init__(self) -> None:
        self.fake = Fake()
        self.tracker = Tracker(self.fake)
        self.shown: list[list[Tracked]] = []
        self.persons: dict[int, int | None] = {}

    def step(self, image_rgb: ImageArray, boxes: Sequence[FloatArray], time_s: float | None = None) -> list[Tracked]:
        self.fake.boxes = list(boxes)
        self.shown.append(self.tracker.step(image_rgb, len(self.shown) / RATE if time_s is None else time_s))
        self.persons |= self.tracker.decisions()
        return self.shown[-1]

    def end(self) -> None:
        self.tracker.end()
        self.persons |= self.tracker.decisions()


@pytest.fixture(scope="module")
def heads() -> list[ImageArray]:
    """Return two heads that differ: the portrait's, and the same mirrored and of other colours."""
    portrait = read_image(Path(__file__).resolve().parents[2] / "examples" / "astronaut.jpg")
    head = cv2.resize(portrait[50:230, 140:320], (84, 84), interpolation=cv2.INTER_AREA)
    other = cv2.flip(head, 1)[..., ::-1].astype(np.float32)
    other[:28] = 235 - other[:28] / 3  # fair hair
    other[60:] = (30, 90, 60)  # a green collar
    return [np.asarray(head, np.uint8), np.clip(other, 0, 255).astype(np.uint8)]


def test_a_face_keeps_its_key_and_is_followed_while_it_moves(heads: list[ImageArray]) -> None:
    watch, background = Watch(), noise(0)
    for number in range(50):
        x, y = 60 + 6 * number, 100 + 20 * np.sin(number / 8)
        (tracked,) = watch.step(scene(background, [(heads[0], x, y)]), [box_at(x, y)])
        assert overlap(tracked.face.box_xyxy, box_at(x, y)) > 0.8, number
    assert {tracked.key for shown in watch.shown for tracked in shown} == {0}
    assert watch.persons == {0: 1}
    assert watch.fake.asked == pytest.approx(50 / RATE / DETECT_EVERY_S, abs=1)  # the rest is followed, not found


def test_a_face_is_somebody_once_a_second_detection_confirms_it(heads: list[ImageArray]) -> None:
    watch, image = Watch(), scene(noise(0), [(heads[0], 200, 100)])
    for number in range(9):
        watch.step(image, [box_at(200, 100)])
        assert watch.persons == ({} if number < DETECT_EVERY_S * RATE - 1e-6 else {0: 1}), number


def test_what_one_detection_alone_has_seen_is_nobody(heads: list[ImageArray]) -> None:
    watch, image = Watch(), scene(noise(0), [(heads[0], 300, 100)])
    for number in range(20):
        watch.step(image, [box_at(300, 100)] + ([box_at(100, 100)] if not number else []))
    watch.end()
    assert len(watch.shown[0]) == 2
    refuted = next(one.key for one in watch.shown[0] if overlap(one.face.box_xyxy, box_at(100, 100)) > 0.5)
    assert watch.persons == {refuted: None, 1 - refuted: 1}
    assert all(tracked.key != refuted for tracked in watch.shown[-1])


def test_what_is_undecided_at_the_end_is_somebody(heads: list[ImageArray]) -> None:
    watch = Watch()
    watch.step(scene(noise(0), [(heads[0], 300, 100)]), [box_at(300, 100)])
    assert watch.persons == {}
    watch.end()
    assert watch.persons == {0: 1}


def test_nobody_is_the_same_after_a_cut(heads: list[ImageArray]) -> None:
    watch, shots = Watch(), [noise(0, grain=15), noise(1, grain=15)]
    for number in range(40):
        image = scene(shots[number // 20], [(heads[0], 200, 100)])
        watch.step(image, [box_at(200, 100)])
    watch.end()
    halves = watch.shown[:20], watch.shown[20:]
    first, second = ({tracked.key for shown in half for tracked in shown} for half in halves)
    assert watch.persons[first.pop()] == 1
    assert watch.persons[second.pop()] == 2
    assert (first, second) == (set(), set())


def test_the_face_of_a_picture_of_another_size_is_somebody_else(heads: list[ImageArray]) -> None:
    watch = Watch()
    watch.step(scene(noise(0), [(heads[0], 200, 100)]), [box_at(200, 100)])
    watch.step(scene(noise(0, 240), [(heads[0], 200, 100)]), [box_at(200, 100)])
    watch.end()
    assert watch.persons == {0: 1, 1: 2}


def test_a_cut_is_found_and_a_moving_camera_is_none() -> None:
    wide = noise(0, HEIGHT, 1600, grain=15)
    find = CutFinder()
    cuts = [find(wide[:, 22 * number : 22 * number + WIDTH]) for number in range(50)]
    assert not any(cuts)
    assert find(noise(1, grain=15))
    assert not find(noise(1, grain=15))


def test_light_and_darkness_are_no_cut() -> None:
    find, image = CutFinder(), noise(0, grain=15).astype(np.float32)
    assert not any(find((image * share).astype(np.uint8)) for share in (1.0, 0.5, 0.2, 1.0))
    dark = CutFinder()
    generator = np.random.default_rng(0)
    assert not any(dark(generator.integers(0, 4, (HEIGHT, WIDTH, 3), np.uint8)) for _ in range(5))


@pytest.mark.parametrize("covered", [False, True])
def test_a_short_loss_does_not_make_somebody_new(heads: list[ImageArray], covered: bool) -> None:
    watch, background = Watch(), noise(0, grain=15)  # more than the face, whose loss would be a cut before a bare wall
    for number in range(75):
        x = 80 + 3 * number
        lost = 25 <= number < 40  # 0.6 s
        seen = [] if lost and covered else [(heads[0], x, 100.0)]
        watch.step(scene(background, seen), [] if lost else [box_at(x, 100)])
    assert set(watch.persons.values()) - {None} == {1}
    assert [watch.persons[tracked.key] for tracked in watch.shown[-1]] == [1]
    if covered:
        assert not watch.shown[30]  # what is not there is not shown


def crossing(number: int, count: int) -> list[tuple[float, float]]:
    """Return where two heads are that pass each other."""
    share = number / (count - 1)
    return [(70 + 340 * share, 95.0), (410 - 340 * share, 105.0)]


def meeting(number: int, count: int) -> list[tuple[float, float]]:
    """Return where two heads are that come close and turn back."""
    apart = max(45.0, 170 * abs(2 * number / (count - 1) - 1))
    return [(240 - apart, 95.0), (240 + apart, 105.0)]


def waiting(number: int, count: int) -> list[tuple[float, float]]:
    """Return where two heads are of which one stands still."""
    return [(70 + 340 * number / (count - 1), 95.0), (240.0, 105.0)]


Paths = Callable[[int, int], list[tuple[float, float]]]


@pytest.mark.parametrize("paths", [crossing, meeting, waiting])
@pytest.mark.parametrize("front", [0, 1])
def test_faces_that_cross_keep_their_numbers(heads: list[ImageArray], paths: Paths, front: int) -> None:
    watch, background, generator = Watch(), noise(0), np.random.default_rng(0)
    count = 75
    for number in range(count):
        places = paths(number, count)
        order = [1 - front, front]
        image = scene(background, [(heads[one], *places[one]) for one in order])
        true = [box_at(*place) for place in places]
        hidden = overlap(true[0], true[1]) > 0.25  # of the union: 40% of one
        boxes = [true[one] + generator.normal(0, 1.5, 4).astype(np.float32) for one in ([front] if hidden else order)]
        watch.step(image, boxes)
    watch.end()
    numbers: dict[int, set[int]] = defaultdict(set)  # of each head
    readings = [0, 0]
    for number, shown in enumerate(watch.shown):
        true_px = np.array(paths(number, count))
        for tracked in shown:
            person = watch.persons[tracked.key]
            centre = (tracked.face.box_xyxy[:2] + tracked.face.box_xyxy[2:]) / 2
            away = np.linalg.norm(true_px - centre, axis=1)
            if person is not None and abs(away[0] - away[1]) > SIDE / 3:  # else the two are in one place
                numbers[int(away.argmin())].add(person)
                readings[int(away.argmin())] += 1
    assert sorted(map(len, numbers.values())) == [1, 1], numbers
    assert numbers[0] != numbers[1]
    assert min(readings) > 0.6 * count


def test_who_comes_back_is_told_by_the_look(heads: list[ImageArray]) -> None:
    watch, background = Watch(), noise(0, 2 * HEIGHT, grain=15)  # so large that their going is no cut
    places = [(195.0, 100.0), (285.0, 100.0)]
    for number in range(60):
        lost = 25 <= number < 40
        order = heads if number < 25 else heads[::-1]  # they changed places while nobody saw them
        seen = [] if lost else [(head, *place) for head, place in zip(order, places, strict=True)]
        watch.step(scene(background, seen), [] if lost else [box_at(*place) for place in places])

    def left_to_right(shown: list[Tracked]) -> list[int | None]:
        return [watch.persons[one.key] for one in sorted(shown, key=lambda one: float(one.face.box_xyxy[0]))]

    assert sorted(left_to_right(watch.shown[20]), key=str) == [1, 2]
    assert left_to_right(watch.shown[-1]) == left_to_right(watch.shown[20])[::-1]


def test_a_tracker_goes_on_from_a_state_as_if_it_had_not_stopped(heads: list[ImageArray]) -> None:
    background, count = noise(0), 60
    pictures, boxes = [], []
    for number in range(count):
        places = crossing(number, count)
        pictures.append(scene(background, [(head, *place) for head, place in zip(heads, places, strict=True)]))
        boxes.append([box_at(*place) for place in [*places, (240, 150)][: 2 + (number >= 45)]])  # one more comes
    whole = Watch()
    for number in range(count):
        whole.step(pictures[number], boxes[number])
    for stop in (1, 31):  # before a second detection, within the crossing
        begun = Watch()
        for number in range(stop):
            begun.step(pictures[number], boxes[number])
        state = json.loads(json.dumps(begun.tracker.state(), allow_nan=False))
        gone_on = Watch()
        gone_on.tracker.restore(state)
        persons = begun.persons
        for number in range(stop, count):
            shown = gone_on.step(pictures[number], boxes[number], number / RATE)
            assert [one.key for one in shown] == [one.key for one in whole.shown[number]]
            for mine, other in zip(shown, whole.shown[number], strict=True):
                assert np.array_equal(mine.face.box_xyxy, other.face.box_xyxy)
        assert persons | gone_on.persons == whole.persons
