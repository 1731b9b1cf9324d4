"""What each person of a video showed, in short: share of time by expression, changes, strongest moments."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import VideoError
from mien.files import make_folder, output_errors
from mien.media import SOFTWARE, software_of, write_image
from mien.types import ImageArray
from mien.video import frame_at

__all__ = [
    "COLUMNS",
    "Moment",
    "Person",
    "Summary",
    "as_json",
    "clock",
    "longest_gap_s",
    "remove_thumbnails",
    "table",
    "write_thumbnails",
]

log = logging.getLogger(__name__)

STAYS_S = 0.5  # an expression that was on top for less is flicker, not a change
FIRST_STEP_S = 0.04  # how long a frame is held to last before the step to another is known
WIDENED = 0.4  # of its side is added to a box for a thumbnail, half of it on each side
COLUMNS = ("person", "seen", "from", "to", "share of time", "changes", "strongest moments")


@dataclass(frozen=True, slots=True)
class Moment:
    """When an expression was on top with its largest probability."""

    time_s: float
    probability: float
    box: tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels of the frame


@dataclass(frozen=True, slots=True)
class Person:
    """What one person of a video showed."""

    track: int
    first_s: float
    last_s: float
    seen_s: float  # each row counts until the person's next one; where that is too long, one step from row to row
    shares: dict[str, float]  # of the time seen, how long each expression was on top; the largest first, sum 1
    means: dict[str, float]  # the mean probability of each expression over the time seen, in the model's order
    unsure: float  # of the time seen, how long it could not be told
    changes: int  # how often another expression came on top and stayed for STAYS_S
    moments: dict[str, Moment]  # by expression, of those that were on top, in the order of shares


def longest_gap_s(every_s: float) -> float:
    """Return for how long a person of whom there is no row is held to be still there: a second or two steps."""
    return max(1.0, 2 * every_s)


class Summary:
    """Takes the rows of a video (see `mien.sinks`) in order of time and keeps of each person what a Person holds."""

    def __init__(self, *, every_s: float = 0.0) -> None:
        """Begin with nobody.  every_s: seconds between the frames that are read; 0: every frame."""
        self._people: dict[int, _Seen] = {}
        self._gap_s = longest_gap_s(every_s)
        self._step_s = every_s or FIRST_STEP_S
        self._now_s: float | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row; one without a time or a track is of a picture and passed over."""
        time_s, track = row["time_s"], row["track"]
        if time_s is None or track is None:
            return
        if self._now_s is not None and 0 < time_s - self._now_s <= self._gap_s:
            self._step_s = time_s - self._now_s
        self._now_s = time_s
        person = self._people.get(track)
        if person is None:
            person = self._people[track] = _Seen(time_s)
        else:
            person.advance(person.until(time_s, self._gap_s, self._step_s))
        person.take(time_s, row)

    def people(self) -> list[Person]:
        """Return what is known of each person, in order of their tracks."""
        return [self._people[track].person(track, self._step_s) for track in sorted(self._people)]


@dataclass(slots=True)
class _Seen:
    """What is kept of a person while rows come: sums over time, the last row, which counts until the next one."""

    first_s: float
    last_s: float = 0.0
    seen_s: float = 0.0
    unsure_s: float = 0.0
    top_s: dict[str, float] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    moments: dict[str, Moment] = field(default_factory=dict)
    changes: int = 0
    settled: str | None = None  # the expression that is on top, flicker aside
    since_s: float = 0.0  # from when on that of the last row is on top without a break
    last: Mapping[str, Any] = field(default_factory=dict)
    until_s: float = 0.0  # when the row before the last one ceased to count

    def until(self, time_s: float, gap_s: float, step_s: float) -> float:
        """Return until when the last row counts, where the next one is of a time."""
        return time_s if time_s - self.last_s <= gap_s else min(time_s, self.last_s + step_s)

    def advance(self, until_s: float) -> None:
        """Count the last row until a time."""
        self.until_s = until_s
        lasted_s = max(until_s - self.last_s, 0.0)
        expression = self.last["expression"]
        self.seen_s += lasted_s
        self.top_s[expression] = self.top_s.get(expression, 0.0) + lasted_s
        for label, probability in self.last["probabilities"].items():
            self.sums[label] = self.sums.get(label, 0.0) + lasted_s * probability
        if not self.last["mixture"]["shares"]:
            self.unsure_s += lasted_s
        if expression != self.settled and until_s - self.since_s >= STAYS_S - 1e-6:
            self.changes += self.settled is not None
            self.settled = expression

    def take(self, time_s: float, row: Mapping[str, Any]) -> None:
        """Keep a row as the last one."""
        expression, probability = row["expression"], row["confidence"]
        if not self.last or expression != self.last["expression"] or time_s > self.until_s:
            self.since_s = time_s
        self.last_s, self.last = time_s, row
        strongest = self.moments.get(expression)
        if strongest is None or probability > strongest.probability:
            self.moments[expression] = Moment(time_s, probability, tuple(row["box"]))

    def person(self, track: int, step_s: float) -> Person:
        """Return what is known, the last row counted for a step."""
        ended = replace(self, top_s=dict(self.top_s), sums=dict(self.sums))
        ended.advance(self.last_s + step_s)
        order = sorted(ended.top_s, key=lambda label: -ended.top_s[label])
        return Person(
            track=track,
            first_s=self.first_s,
            last_s=self.last_s,
            seen_s=ended.seen_s,
            shares={label: ended.top_s[label] / ended.seen_s for label in order},
            means={label: total / ended.seen_s for label, total in ended.sums.items()},
            unsure=ended.unsure_s / ended.seen_s,
            changes=ended.changes,
            moments={label: self.moments[label] for label in order},
        )


def as_json(people: Iterable[Person]) -> dict[str, Any]:
    """Return people for `json.dumps`: {"people": [{the fields of Person}]}, seconds to 3 digits, shares to 4."""
    return {"people": [_rounded(asdict(person)) for person in people]}


def _rounded(value: Any, key: str = "") -> Any:
    """Return what a dictionary holds with its numbers rounded: times to 3 digits, boxes to 2, shares to 4."""
    if isinstance(value, dict):
        return {name: _rounded(inner, name) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [round(number, 2) for number in value]
    return round(value, 3 if key.endswith("_s") else 4) if isinstance(value, float) else value


def table(people: Iterable[Person]) -> list[tuple[str, ...]]:
    """Return a row for each person under COLUMNS, for people to read; expressions of less than a percent left out."""
    rows: list[tuple[str, ...]] = []
    for person in people:
        shares = {label: share for label, share in person.shares.items() if share >= 0.01}
        told = [f"{label} {100 * share:.0f}%" for label, share in shares.items()]
        told += [f"(unsure {100 * person.unsure:.0f}%)"] if person.unsure >= 0.01 else []
        moments = [
            f"{label} {100 * person.moments[label].probability:.0f}% at {clock(person.moments[label].time_s)}"
            for label in shares
        ]
        times = clock(person.seen_s), clock(person.first_s), clock(person.last_s)
        rows.append((str(person.track), *times, ", ".join(told), str(person.changes), ", ".join(moments)))
    return rows


def clock(time_s: float, *, digits: int = 1) -> str:
    """Return a time as people read it: "12.4 s", "1:02.4", "1:00:02.4"."""
    ticks = round(time_s * 10**digits)
    minutes, seconds = divmod(ticks, 60 * 10**digits)
    if not minutes:
        return f"{ticks / 10**digits:.{digits}f} s"
    hours, minutes = divmod(minutes, 60)
    tail = f"{seconds / 10**digits:0{3 + digits if digits else 2}.{digits}f}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"


def remove_thumbnails(folder: str | Path) -> None:
    """Remove the thumbnails that mien wrote into a folder, and the folder where nothing else is in it.

    OutputError where they cannot be removed.
    """
    folder = Path(folder)
    with output_errors(folder):
        for path in folder.glob("person-*.jpg"):
            if software_of(path) == SOFTWARE:
                path.unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def write_thumbnails(video: str | Path, people: Sequence[Person], folder: str | Path) -> list[Path]:
    """Write the face of each strongest moment as folder/person-TRACK-EXPRESSION.jpg; return the files.

    A moment whose frame cannot be read is left out, with a warning.  Raises OutputError where they cannot be written.
    """
    place = make_folder(folder)
    written, lost = [], 0
    for person in people:
        for label, moment in person.moments.items():
            try:
                image_rgb = frame_at(video, moment.time_s)
            except VideoError:
                lost += 1
                continue
            path = place / f"person-{person.track}-{re.sub(r'[^0-9A-Za-z]+', '-', label)}.jpg"
            write_image(path, _widened(image_rgb, moment.box))
            written.append(path)
    if lost:
        log.warning("%d of %d thumbnails left out: their frames cannot be read", lost, lost + len(written))
    return written


def _widened(image_rgb: ImageArray, box: tuple[float, float, float, float]) -> ImageArray:
    """Return what a picture shows in a box and around it, at least a pixel."""
    height, width = image_rgb.shape[:2]
    x0, y0, x1, y1 = box
    reach = WIDENED / 2 * max(x1 - x0, y1 - y0)
    left, right = (int(np.clip(x, 0, width)) for x in (x0 - reach, x1 + reach))
    top, bottom = (int(np.clip(y, 0, height)) for y in (y0 - reach, y1 + reach))
    left, top = min(left, width - 1), min(top, height - 1)
    return image_rgb[top : max(bottom, top + 1), left : max(right, left + 1)]
