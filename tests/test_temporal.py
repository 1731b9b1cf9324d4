"""Expressions through time: every frame once, smoothed without delay in a file and with a known one live."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien import temporal
from mien.classify import Classifier
from mien.errors import InputError, VideoError
from mien.recognize import Recognizer
from mien.temporal import LiveReader, VideoReader
from mien.types import Face, FloatArray, FrameReading, ImageArray
from mien.video import Frame

RATE = 25
BOX = np.array([40, 20, 88, 68], np.float32)


class Standing:
    """A detector that finds a face in one place."""

    def __call__(self, image_rgb: ImageArray) -> list[Face]:
        return [Face(BOX, None, 0.9)]


@pytest.fixture
def recognizer(make_model: Callable[..., Path]) -> Recognizer:
    return Recognizer(Standing(), Classifier.load(make_model(), threads=1))


def textured() -> FloatArray:
    """Return a picture (90, 128, 3) of low contrast around 0, with points that can be followed."""
    drawn = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 1, (90, 128, 3)), (0, 0), 2.0)
    return np.asarray(25 * drawn / drawn.std(), np.float32)


def film(count: int, level_at: Callable[[float], float] = lambda _: 120.0, *, first: int = 0) -> Iterator[Frame]:
    """Yield frames of one picture whose brightness is given by the time; the network sees brightness alone."""
    picture = textured()
    for number in range(first, count):
        time_s = number / RATE
        yield Frame(time_s, np.clip(picture + level_at(time_s), 0, 255).astype(np.uint8), number)


def curve(readings: list[FrameReading]) -> FloatArray:
    """Return the probability of the first label by frame, of the one face that there is."""
    return np.array([next(iter(one.readings[0].probabilities.values())) for one in readings], np.float32)


def read_file(recognizer: Recognizer, frames: Iterator[Frame], smooth_s: float = temporal.SMOOTH_S) -> FloatArray:
    return curve([reading for _, reading in VideoReader(recognizer, smooth_s=smooth_s).read(frames)])


def packed(reading: FrameReading) -> Any:
    """Return a reading so that two can be compared."""
    faces = [(one.track, one.face.box_xyxy.tolist(), one.probabilities) for one in reading.readings]
    return reading.number, reading.time_s, faces


def test_every_frame_comes_once_in_order_with_its_readings(recognizer: Recognizer) -> None:
    given = list(film(60))
    read = list(VideoReader(recognizer).read(given))
    assert [frame for frame, _ in read] == given
    for frame, reading in read:
        assert (reading.number, reading.time_s) == (frame.number, frame.time_s)
        (one,) = reading.readings  # of the first frames too, as what comes after is known
        assert one.track == 1
        assert np.allclose(one.face.box_xyxy, BOX, atol=1)
        assert sum(one.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_a_video_without_frames_gives_nothing(recognizer: Recognizer) -> None:
    reader = VideoReader(recognizer)
    assert list(reader.read([])) == []
    with pytest.raises(InputError, match="a VideoReader reads one video"):
        next(reader.read([]))


def test_a_video_of_one_frame_is_read(recognizer: Recognizer) -> None:
    ((_, reading),) = VideoReader(recognizer).read(film(1))
    assert [one.track for one in reading.readings] == [1]


def test_a_face_that_does_not_change_has_one_reading(recognizer: Recognizer) -> None:
    probabilities = read_file(recognizer, film(50))
    (reading,) = Recognizer(Standing(), recognizer.classifier).read(next(film(1)).image_rgb)
    assert np.allclose(probabilities, next(iter(reading.probabilities.values())), atol=1e-3)


def test_a_face_that_one_detection_alone_has_seen_is_told_apart_from_those_read(recognizer: Recognizer) -> None:
    live = LiveReader(recognizer)
    shown = [live.read(frame.image_rgb, frame.time_s) for frame in film(9)]
    assert [(len(one.readings), len(one.unread)) for one in shown] == [(0, 1)] * 8 + [(1, 0)]
    assert np.allclose(shown[0].unread[0].box_xyxy, BOX)
    asked: list[int] = []

    def once(image_rgb: ImageArray) -> list[Face]:
        asked.append(0)
        return [] if len(asked) > 1 else [Face(BOX, None, 0.9)]

    reader = VideoReader(Recognizer(once, recognizer.classifier))
    told = [(len(one.readings), len(one.unread)) for _, one in reader.read(film(20))]
    assert told == [(0, 1)] * 8 + [(0, 0)] * 12, "refuted: it is blurred where one asks for that, and not read"


def test_smoothing_calms_what_flickers(recognizer: Recognizer) -> None:
    levels = np.random.default_rng(1).uniform(60, 180, 100)

    def flicker(time_s: float) -> float:
        return float(levels[round(time_s * RATE)])

    plain, smooth = (read_file(recognizer, film(100, flicker), smooth_s) for smooth_s in (0.0, 0.8))
    assert smooth.var() < 0.3 * plain.var()
    assert smooth.mean() == pytest.approx(plain.mean(), abs=0.15 * float(np.ptp(plain)))


def test_in_a_file_a_change_is_shown_when_it_happens(recognizer: Recognizer) -> None:
    def step(time_s: float) -> float:
        return 60.0 if time_s < 1.0 else 180.0

    smooth = read_file(recognizer, film(50, step), 0.6)
    half = (smooth[0] + smooth[-1]) / 2
    beyond = (smooth > half) == (smooth[-1] > half)
    assert int(beyond.argmax()) / RATE == pytest.approx(1.0, abs=1.6 / RATE)
    assert (np.diff(smooth) * np.sign(smooth[-1] - smooth[0]) > -1e-4).all()
    assert np.ptp(smooth[15:35]) > 0.8 * np.ptp(smooth)  # within smooth_s of it


def delay(smooth: FloatArray, plain: FloatArray) -> float:
    """Return by how many seconds a curve is behind another, where both are even slopes."""
    middle = slice(30, 70)
    slope = float(np.polyfit(np.arange(100)[middle] / RATE, plain[middle], 1)[0])
    return float((plain - smooth)[middle].mean()) / slope


@pytest.mark.parametrize("smooth_s", [0.4, 0.9])
def test_live_lags_by_a_third_of_the_smoothing_and_a_file_not_at_all(recognizer: Recognizer, smooth_s: float) -> None:
    def ramp(time_s: float) -> float:
        return 110 + 5 * time_s

    plain = read_file(recognizer, film(100, ramp), 0.0)
    reader = LiveReader(recognizer, smooth_s=smooth_s)
    live = [reader.read(frame.image_rgb, frame.time_s) for frame in film(100, ramp)]
    shown = [bool(one.readings) for one in live]
    assert shown.index(True) <= 0.35 * RATE  # once it is confirmed
    assert all(shown[shown.index(True) :])
    seen = np.concatenate([plain[: shown.index(True)], curve([one for one in live if one.readings])])
    assert delay(seen, plain) == pytest.approx(smooth_s / 3, abs=0.02)
    assert delay(read_file(recognizer, film(100, ramp), smooth_s), plain) == pytest.approx(0, abs=0.02)


def test_live_without_smoothing_says_what_is_seen_now(recognizer: Recognizer) -> None:
    reader = LiveReader(recognizer, smooth_s=0)
    levels = {number: 60.0 + 10 * (number % 7) for number in range(30)}
    live = [reader.read(one.image_rgb, one.time_s) for one in film(30, lambda at_s: levels[round(at_s * RATE)])]
    plain = read_file(recognizer, film(30, lambda at_s: levels[round(at_s * RATE)]), 0.0)
    assert [one.number for one in live] == list(range(30))
    assert np.allclose(curve(live[10:]), plain[10:], atol=1e-4)


def test_frames_far_apart_have_readings_of_their_own(recognizer: Recognizer) -> None:
    frames = [Frame(30.0 * one.number, one.image_rgb, one.number) for one in film(6, lambda at_s: 60 + 500 * at_s)]
    read = [reading for _, reading in VideoReader(recognizer).read(frames)]
    alone = [next(iter(recognizer.read(frame.image_rgb)[0].probabilities.values())) for frame in frames]
    assert all(len(reading.readings) == 1 for reading in read)
    assert np.allclose(curve(read), alone, atol=0.02)


@pytest.mark.parametrize("smooth_s", [-0.1, 11.0, float("nan")])
def test_smoothing_over_no_sensible_time_is_an_input_error(recognizer: Recognizer, smooth_s: float) -> None:
    for reader in (VideoReader, LiveReader):
        with pytest.raises(InputError, match="expected 0"):
            reader(recognizer, smooth_s=smooth_s)


def test_a_reader_goes_on_where_another_stood(recognizer: Recognizer) -> None:
    levels = np.random.default_rng(1).uniform(60, 180, 80)

    def flicker(time_s: float) -> float:
        return float(levels[round(time_s * RATE)])

    whole = [packed(reading) for _, reading in VideoReader(recognizer).read(film(80, flicker))]
    marks: list[tuple[int, str]] = []
    told: list[Any] = []

    def mark(state: dict[str, Any]) -> None:
        marks.append((len(told), json.dumps(state, allow_nan=False)))

    for _, reading in VideoReader(recognizer).read(film(80, flicker), mark_every_s=0, on_mark=mark):
        told.append(packed(reading))
    assert told == whole
    assert len(marks) == 80
    for done, state in (marks[0], marks[33], marks[-1]):
        reader = VideoReader(recognizer, state=json.loads(state))
        assert reader.first_frame == done
        rest = [packed(reading) for _, reading in reader.read(film(80, flicker, first=done))]
        assert whole[:done] + rest == whole


def broken(count: int, error: Exception) -> Iterator[Frame]:
    yield from film(count)
    raise error


def test_frames_before_an_error_are_all_told(recognizer: Recognizer) -> None:
    read = VideoReader(recognizer).read(broken(12, VideoError("torn")))
    told = [next(read)[1] for _ in range(12)]
    assert [(reading.number, len(reading.readings)) for reading in told] == [(number, 1) for number in range(12)]
    with pytest.raises(VideoError, match="torn"):
        next(read)
    with pytest.raises(ZeroDivisionError):
        list(VideoReader(recognizer).read(broken(12, ZeroDivisionError())))


@pytest.mark.parametrize("held", [None, 12])
def test_few_frames_wait_however_long_the_video_is(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, held: int | None
) -> None:
    given = 0
    if held is not None:
        monkeypatch.setattr(temporal, "HELD_BYTES", held * 90 * 128 * 3)

    def counted() -> Iterator[Frame]:
        nonlocal given
        for frame in film(400):
            given += 1
            yield frame

    smooth_s = 0.4 if held is None else 8.0  # over which all 200 frames of it would be too many
    waited = [given - frame.number for frame, _ in VideoReader(recognizer, smooth_s=smooth_s).read(counted())]
    assert len(waited) == 400
    ahead = temporal.FRAMES_AHEAD + temporal.FRAMES_DECODED + 4  # taken one further in each of the threads
    assert max(waited) <= ahead + (smooth_s * RATE if held is None else held)


def test_a_face_that_was_at_the_edge_for_long_is_shown_again(make_model: Callable[..., Path]) -> None:
    view = np.concatenate([textured() + 120] * 2, axis=1).clip(0, 255).astype(np.uint8)

    def shift(number: int) -> int:
        return min(70, 2 * number, max(0, 2 * (235 - number)))

    def detect(image_rgb: ImageArray) -> list[Face]:
        return [Face(BOX - np.array([image_rgb[0, 0, 0], 0] * 2, np.float32), None, 0.9)]

    def panned() -> Iterator[Frame]:
        for number in range(260):
            image = view[:, shift(number) : shift(number) + 128].copy()
            image[0, 0] = shift(number)
            yield Frame(number / RATE, image, number)

    recognizer = Recognizer(detect, Classifier.load(make_model(), threads=1))
    live = LiveReader(recognizer)
    seen = [len(live.read(frame.image_rgb, frame.time_s).readings) for frame in panned()]
    read = [len(reading.readings) for _, reading in VideoReader(recognizer).read(panned())]
    for shown in (seen, read):
        assert not any(shown[40:200])  # its middle is outside
        assert all(shown[-20:])


def test_a_reader_that_is_left_early_stops_taking_frames(recognizer: Recognizer) -> None:
    closed = []

    def watched() -> Iterator[Frame]:
        try:
            yield from film(400)
        finally:
            closed.append(True)

    read = VideoReader(recognizer).read(watched())
    next(read)
    read.close()
    assert closed == [True]
