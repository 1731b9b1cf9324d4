"""The summary of a video counts time, not rows, and changes, not flicker."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.labels import FER2013
from mien.media import read_image
from mien.mixture import mix
from mien.summary import COLUMNS, Moment, Person, Summary, as_json, clock, table, write_thumbnails
from mien.video_writer import VideoWriter

BOX = [10.0, 20.0, 30.0, 40.0]


def row(time_s: float | None, track: int | None, expression: str, probability: float = 0.94) -> dict[str, Any]:
    rest = (1 - probability) / (len(FER2013) - 1)
    probabilities = {label: probability if label == expression else rest for label in FER2013}
    mixture = mix(probabilities)
    return {
        "time_s": time_s, "track": track, "box": BOX, "expression": expression, "confidence": probability,
        "probabilities": probabilities, "mixture": {"name": mixture.name, "shares": mixture.shares},
    }  # fmt: skip


def summed(rows: Iterable[dict[str, Any]], **settings: float) -> list[Person]:
    summary = Summary(**settings)
    for one in rows:
        summary.add(one)
    return summary.people()


def at(rate: float, *shown: tuple[str, int], start_s: float = 0.0, track: int = 1) -> list[dict[str, Any]]:
    """Return rows of so many frames of one expression after the other."""
    names = [name for name, count in shown for _ in range(count)]
    return [row(start_s + number / rate, track, name) for number, name in enumerate(names)]


def test_shares_are_of_the_time_seen() -> None:
    (person,) = summed(at(25, ("happy", 75), ("sad", 25)))
    assert (person.track, person.first_s, person.last_s) == (1, 0.0, 3.96)
    assert person.seen_s == pytest.approx(4.0)
    assert list(person.shares) == ["happy", "sad"]
    assert person.shares == {"happy": pytest.approx(0.75), "sad": pytest.approx(0.25)}
    assert person.means["happy"] == pytest.approx(0.75 * 0.94 + 0.25 * 0.01)
    assert list(person.means) == list(FER2013)
    assert sum(person.means.values()) == pytest.approx(1)
    assert person.unsure == 0


def test_frames_that_last_longer_count_for_more() -> None:
    slow = at(5, ("happy", 10))  # 2 s
    fast = at(50, ("sad", 100), start_s=2.0)  # 2 s
    (person,) = summed(slow + fast)
    assert person.shares == {"happy": pytest.approx(0.5), "sad": pytest.approx(0.5)}


def test_who_is_away_is_not_seen() -> None:
    (person,) = summed(at(25, ("happy", 25)) + at(25, ("sad", 25), start_s=60.0))
    assert person.seen_s == pytest.approx(2.0)
    assert person.last_s == pytest.approx(60.96)
    assert person.shares == {"happy": pytest.approx(0.5), "sad": pytest.approx(0.5)}


def test_people_are_kept_apart() -> None:
    rows = sorted(
        at(25, ("happy", 50), track=7) + at(25, ("sad", 25), start_s=0.5, track=2), key=lambda one: one["time_s"]
    )
    first, second = summed(rows)
    assert (first.track, second.track) == (2, 7)
    assert [first.seen_s, second.seen_s] == pytest.approx([1.0, 2.0], abs=0.03)
    assert (list(first.shares), list(second.shares)) == (["sad"], ["happy"])


def test_a_frame_every_five_seconds_counts_for_five_seconds() -> None:
    (person,) = summed(at(0.2, ("happy", 3), ("sad", 1), ("happy", 1)), every_s=5.0)
    assert person.seen_s == pytest.approx(25)
    assert person.shares == {"happy": pytest.approx(0.8), "sad": pytest.approx(0.2)}
    assert person.changes == 2


def test_flicker_is_no_change() -> None:
    (steady,) = summed(at(25, ("happy", 50), ("sad", 12), ("happy", 50), ("fear", 1), ("sad", 11), ("happy", 20)))
    assert steady.changes == 0
    (changed,) = summed(at(25, ("fear", 3), ("happy", 50), ("sad", 13), ("happy", 50), ("sad", 12)))
    assert changed.changes == 2  # the first three frames are flicker, and so are the last twelve


def test_a_glimpse_before_and_after_an_absence_is_no_change() -> None:
    rows = at(25, ("happy", 25), ("sad", 1)) + at(25, ("sad", 1), ("happy", 25), start_s=9.0)
    assert summed(rows)[0].changes == 0


def test_the_strongest_moments_are_found() -> None:
    rows = at(25, ("happy", 10), ("sad", 5))
    rows[3] = row(0.12, 1, "happy", 0.97) | {"box": [1.0, 2.0, 3.0, 4.0]}
    (person,) = summed(rows)
    assert person.moments == {
        "happy": Moment(0.12, 0.97, (1.0, 2.0, 3.0, 4.0)),
        "sad": Moment(0.4, 0.94, (10.0, 20.0, 30.0, 40.0)),
    }


def test_what_is_unsure_is_counted() -> None:
    rows = at(25, ("happy", 30)) + [row(1.2 + number / 25, 1, "happy", 0.2) for number in range(10)]
    assert summed(rows)[0].unsure == pytest.approx(0.25)


def test_asking_in_between_changes_nothing() -> None:
    rows = at(25, ("happy", 50), ("sad", 20))
    summary = Summary()
    for one in rows:
        summary.add(one)
        summary.people()
    assert summary.people() == summed(rows)


def test_rows_of_pictures_are_passed_over() -> None:
    assert summed([row(None, None, "happy"), row(1.0, None, "happy")]) == []


def test_a_single_frame_is_a_person_too() -> None:
    (person,) = summed([row(3.0, 4, "sad")])
    assert person.shares == {"sad": 1.0}
    assert person.seen_s > 0


def test_people_are_written_as_json() -> None:
    people = summed(at(25, ("happy", 75), ("sad", 25)))
    (told,) = json.loads(json.dumps(as_json(people)))["people"]
    assert told["shares"] == {"happy": 0.75, "sad": 0.25}
    assert told["moments"]["sad"] == {"time_s": 3.0, "probability": 0.94, "box": BOX}
    assert list(told) == list(Person.__dataclass_fields__)


def test_people_are_told_in_a_table() -> None:
    (told,) = table(summed(at(25, ("happy", 75), ("sad", 25), start_s=100.0)))
    assert dict(zip(COLUMNS, told, strict=True)) == {
        "person": "1", "seen": "4.0 s", "from": "1:40.0", "to": "1:44.0", "share of time": "happy 75%, sad 25%",
        "changes": "1", "strongest moments": "happy 94% at 1:40.0, sad 94% at 1:43.0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("time_s", "digits", "told"),
    [
        (0.04, 1, "0.0 s"), (12.44, 1, "12.4 s"), (59.96, 1, "1:00.0"), (62.4, 1, "1:02.4"), (3725.25, 0, "1:02:05"),
        (30, 0, "30 s"), (59.7, 0, "1:00"),
    ],
)  # fmt: skip
def test_times_are_told_as_people_read_them(time_s: float, digits: int, told: str) -> None:
    assert clock(time_s, digits=digits) == told


def test_thumbnails_show_the_face_and_what_is_around_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with VideoWriter(tmp_path / "clip.mp4") as writer:
        for number in range(20):
            image = np.zeros((96, 128, 3), np.uint8)
            if number == 10:
                image[20:40, 10:30] = 255
            writer.write(image, number / 10)
    people = summed([row(1.0, 1, "happy"), row(1.1, 1, "sad") | {"box": [100.0, 70.0, 300.0, 300.0]}])
    (happy, sad) = write_thumbnails(tmp_path / "clip.mp4", people, tmp_path / "faces")
    assert sorted(path.name for path in (tmp_path / "faces").iterdir()) == [sad.name, happy.name][::-1]
    assert happy.name == "person-1-happy.jpg"
    shown = read_image(happy)
    assert shown.shape == (28, 28, 3)
    assert shown[6:22, 6:22].min() > 200
    assert shown[:2].max() < 60
    assert read_image(sad).shape[0] <= 96
    with caplog.at_level(logging.WARNING):
        assert write_thumbnails(tmp_path / "none.mp4", people, tmp_path / "faces") == []
    assert "2 of 2 thumbnails left out" in caplog.text
