"""The expressions of each person of a video over time, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from mien.draw import COLOURS
from mien.summary import clock, longest_gap_s
from mien.types import ImageArray

__all__ = ["BINS", "LANES", "Timeline"]

BINS = 1000  # the most bins of time: where there would be more, each becomes twice as long
FIRST_BIN_S = 0.05
LANES = 20  # the most people drawn, those seen longest

MARGIN_PX = 24
NAME_PX = 130  # for the names beside the lanes
LANE_PX, STRIP_PX, BETWEEN_PX = 56, 6, 18  # a person's expressions, the strip of what is unsure below them, the space
TEXT_PX, SMALL_PX = 20, 16
GROUND, INK, FAINT, EMPTY, UNSURE, OTHER = "#FFFFFF", "#1A1A1A", "#5A5A5A", "#F0F0F0", "#404040", "#B0B0B0"
GRID = "#D8D8D8"
TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
MOST_TICKS = 12

Bins = dict[int, NDArray[np.float64]]  # number of the bin -> for each label the sum, of readings, of those unsure


class Timeline:
    """Takes the rows of a video (see `mien.sinks`) and keeps means over bins of time, however long it lasts."""

    def __init__(self, *, every_s: float = 0.0) -> None:
        """Begin with nobody.  every_s: seconds between the frames that are read; 0: every frame."""
        self._every_s = every_s
        self._bin_s = FIRST_BIN_S
        self._end_s = 0.0
        self._labels: tuple[str, ...] = ()
        self._tracks: dict[int, Bins] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row; one without a time or a track is of a picture and passed over."""
        time_s, track = row["time_s"], row["track"]
        if time_s is None or track is None:
            return
        self._labels = self._labels or tuple(row["probabilities"])
        self._end_s = max(self._end_s, time_s)
        while time_s >= BINS * self._bin_s:
            self._bin_s *= 2
            self._tracks = {number: _halved(bins) for number, bins in self._tracks.items()}
        shares = [row["probabilities"].get(label, 0.0) for label in self._labels]
        values = np.array([*shares, 1.0, not row["mixture"]["shares"]])
        bins = self._tracks.setdefault(track, {})
        index = int(time_s / self._bin_s)
        bins[index] = bins[index] + values if index in bins else values

    def draw(self, *, duration_s: float = 0.0, width_px: int = 1600) -> ImageArray:
        """Return the picture (H, width_px, 3): a lane for each person, how probable each expression was stacked.

        Where somebody was not seen, the lane is empty; a dark strip below it tells where most readings were unsure.
        duration_s: of the video, where it goes on after the last row.
        """
        end_s = max(duration_s, (int(self._end_s / self._bin_s) + 1) * self._bin_s, self._end_s + self._every_s)
        seen_s = {track: self._seen_s(bins) for track, bins in self._tracks.items()}
        shown = sorted(sorted(seen_s, key=lambda track: (-seen_s[track], track))[:LANES])
        top = 2 * MARGIN_PX + TEXT_PX
        bottom = top + max(len(shown), 1) * (LANE_PX + STRIP_PX + BETWEEN_PX)
        rest = len(seen_s) - len(shown)
        note_px = TEXT_PX + MARGIN_PX if rest else 0
        picture = Image.new("RGB", (width_px, bottom + 2 * TEXT_PX + MARGIN_PX + note_px), GROUND)
        canvas = ImageDraw.Draw(picture)
        left, right = MARGIN_PX + NAME_PX, width_px - 2 * MARGIN_PX
        self._draw_legend(canvas, left)
        if shown or duration_s:
            _draw_axis(canvas, end_s, (left, top, right, bottom))
        for lane, track in enumerate(shown):
            y = top + lane * (LANE_PX + STRIP_PX + BETWEEN_PX) + BETWEEN_PX // 2
            _text(canvas, (MARGIN_PX, y + 4), f"person {track}", TEXT_PX, INK)
            _text(canvas, (MARGIN_PX, y + 32), clock(seen_s[track]), SMALL_PX, FAINT)
            times_s = (np.arange(right - left) + 0.5) / (right - left) * end_s
            picture.paste(Image.fromarray(self._lane(self._tracks[track], times_s)), (left, y))
        if not shown:
            _text(canvas, (left + 8, top + LANE_PX // 2), "no face was read", TEXT_PX, FAINT)
        if rest:
            longest = max(seconds for track, seconds in seen_s.items() if track not in shown)
            note = f"and {rest} more, none of them seen for longer than {clock(longest)}"
            _text(canvas, (left, bottom + 2 * TEXT_PX + MARGIN_PX), note, SMALL_PX, FAINT)
        return np.array(picture)

    def _step_s(self) -> float:
        """Return for how long a bin stands at least."""
        return max(self._bin_s, self._every_s)

    def _ends_s(self, starts_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return until when bins that begin at times stand: until the next one, if it is near enough."""
        ends_s = starts_s + self._step_s()
        near = np.diff(starts_s) <= max(longest_gap_s(self._every_s), self._bin_s)
        ends_s[:-1] = np.where(near, starts_s[1:], np.minimum(ends_s[:-1], starts_s[1:]))
        return ends_s

    def _seen_s(self, bins: Bins) -> float:
        """Return for how long somebody was seen, to the length of a bin."""
        starts_s = np.array(sorted(bins)) * self._bin_s
        return float((self._ends_s(starts_s) - starts_s).sum())

    def _lane(self, bins: Bins, times_s: NDArray[np.float64]) -> ImageArray:
        """Return the picture of a person's expressions (LANE_PX + STRIP_PX, times, 3)."""
        order = sorted(bins)
        starts_s = np.array(order) * self._bin_s
        where = np.searchsorted(starts_s, times_s, side="right") - 1
        seen = (where >= 0) & (times_s < self._ends_s(starts_s)[where])
        values = np.array([bins[index] for index in order])[where]
        means = values[:, :-2] / values[:, -2:-1]
        tops = np.cumsum(means, axis=1) / means.sum(axis=1, keepdims=True)
        heights = 1 - (np.arange(LANE_PX) + 0.5) / LANE_PX  # the first expression lies at the bottom
        which = (heights[:, None, None] > tops[None, :, :-1]).sum(axis=2)
        colours = np.array([_rgb(COLOURS.get(label, OTHER)) for label in self._labels], np.uint8)
        lane = np.full((LANE_PX + STRIP_PX, len(times_s), 3), _rgb(EMPTY), np.uint8)
        lane[:LANE_PX][:, seen] = colours[which][:, seen]
        lane[LANE_PX:] = _rgb(GROUND)
        lane[LANE_PX + 2 :, seen & (values[:, -1] > values[:, -2] / 2)] = _rgb(UNSURE)
        return lane

    def _draw_legend(self, canvas: ImageDraw.ImageDraw, left: int) -> None:
        """Draw what the colours stand for."""
        x, y = float(left), MARGIN_PX
        named = [(label, COLOURS.get(label, OTHER), TEXT_PX) for label in self._labels]
        for name, colour, height in [*named, ("unsure", UNSURE, STRIP_PX - 2)] if named else []:
            canvas.rectangle((x, y + TEXT_PX - height, x + TEXT_PX, y + TEXT_PX), fill=colour)
            _text(canvas, (x + TEXT_PX + 8, y - 2), name, TEXT_PX, INK)
            x += TEXT_PX + 8 + canvas.textlength(name, font=ImageFont.load_default(TEXT_PX)) + 28


def _halved(bins: Bins) -> Bins:
    """Return bins of twice the length."""
    halved: Bins = {}
    for index, values in bins.items():
        halved[index // 2] = halved[index // 2] + values if index // 2 in halved else values
    return halved


def _draw_axis(canvas: ImageDraw.ImageDraw, end_s: float, area: tuple[int, int, int, int]) -> None:
    """Draw lines of time through the area of the lanes, and below it what they stand for."""
    left, top, right, bottom = area
    step_s = next((step for step in TICKS_S if end_s / step <= MOST_TICKS), None) or end_s / MOST_TICKS
    for number in range(int(end_s / step_s + 1e-6) + 1):
        x = left + round(number * step_s / end_s * (right - left))
        canvas.line((x, top, x, bottom + 8), fill=GRID, width=1)
        name = clock(number * step_s, digits=0 if step_s >= 1 else 1)
        _text(canvas, (x, bottom + 12), name, SMALL_PX, INK, anchor="ma")
    canvas.line((left, bottom, right, bottom), fill=FAINT, width=1)


def _text(
    canvas: ImageDraw.ImageDraw, place: tuple[float, float], text: str, size_px: int, colour: str, anchor: str = "la"
) -> None:
    """Write a line of text."""
    canvas.text(place, text, fill=colour, font=ImageFont.load_default(size_px), anchor=anchor)


def _rgb(colour: str) -> tuple[int, ...]:
    """Return a colour as numbers."""
    return ImageColor.getrgb(colour)[:3]
