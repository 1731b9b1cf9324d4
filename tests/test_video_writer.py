"""Written video: frames at their times and in their colours, parts joined without a seam, sound where it belongs."""

from __future__ import annotations

import itertools
import logging
import tracemalloc
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from mien import sound, video_writer
from mien.errors import OutputError
from mien.types import ImageArray
from mien.video import frames
from mien.video_writer import LONGEST_PX, VideoWriter, join

RATE = 16_000  # of the sound
LATE_S = 0.5  # in the sources made here, so much after the sound the pictures begin
BEEP_S = 1.0  # after the first picture a tone begins, before it there is silence
LENGTH_S = 2.0


def grey(value: float, *, width: int = 64, height: int = 48) -> ImageArray:
    return np.full((height, width, 3), value, np.uint8)


def write(path: Path, times_s: Sequence[float], **settings: tuple[int, int]) -> Path:
    """Write frames whose grey tells their number."""
    with VideoWriter(path, **settings) as writer:
        for number, time_s in enumerate(times_s):
            writer.write(grey(number * 5), time_s)
    return path


def make_source(path: Path, codec: str, *, gap: bool = False, cover: bool = False) -> Path:
    """Write a source with silence and then a tone; gap: a part of the silence is not in the file; cover: it has one."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(codec, rate=RATE, layout="mono")
        assert isinstance(audio, av.AudioStream)
        if cover:
            front = container.add_stream("mjpeg", rate=1)
            assert isinstance(front, av.VideoStream)
            front.width, front.height, front.pix_fmt = 64, 48, "yuvj420p"
            front.disposition = Disposition.attached_pic
            container.mux(front.encode(av.VideoFrame.from_ndarray(grey(255), format="rgb24")))
        for number in range(round(LENGTH_S * 10)):
            picture = av.VideoFrame.from_ndarray(grey(number * 10), format="rgb24")
            picture.pts, picture.time_base = number + round(LATE_S * 10), Fraction(1, 10)
            container.mux(video.encode(picture))
        times_s = np.arange(round((LENGTH_S + LATE_S) * RATE)) / RATE
        tone = np.where(times_s < LATE_S + BEEP_S, 0, 12_000 * np.sin(2 * np.pi * 440 * times_s)).astype(np.int16)
        for start in range(0, len(tone), 1600):
            if gap and 0.7 <= start / RATE < 1.2:
                continue
            sound = av.AudioFrame.from_ndarray(tone[None, start : start + 1600], format="s16", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = RATE, start, Fraction(1, RATE)
            container.mux(audio.encode(sound))
        container.mux([*video.encode(None), *audio.encode(None)])
    return path


def heard(path: Path) -> tuple[float, float]:
    """Return when the tone begins and when the sound ends, after the first picture."""
    with av.open(str(path)) as container:
        decoded = [(frame.time or 0.0, frame.to_ndarray()) for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].codec_context.sample_rate
        begins = [time + np.argmax(np.abs(part[0]) > 0.1) / rate for time, part in decoded if np.abs(part).max() > 0.1]
        return min(begins), decoded[-1][0] + decoded[-1][1].shape[1] / rate


def sounds(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.codec_context.name for stream in container.streams.audio]


@pytest.mark.parametrize(
    "times",
    [
        [0.0, 0.02, 0.5, 0.54, 3.001, 3.101],
        [number * 1001 / 30000 for number in range(12)],
        [12.5, 12.6, 12.7],
    ],
)
def test_each_frame_keeps_its_time(tmp_path: Path, times: list[float]) -> None:
    path = write(tmp_path / "clip.mp4", times)
    with av.open(str(path)) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx(times, abs=2e-5)


def test_times_that_do_not_rise_are_brought_in_order(tmp_path: Path) -> None:
    read = list(frames(write(tmp_path / "clip.mp4", [0.0, 0.1, 0.1, 0.05, 0.2])))
    assert [frame.image_rgb.mean() for frame in read] == pytest.approx([0, 5, 10, 15, 20], abs=2)
    assert all(before.time_s < after.time_s for before, after in itertools.pairwise(read))


def test_colours_are_kept(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (240, 228, 66), (255, 255, 255), (128, 128, 128), (0, 0, 0)]
    image = np.repeat(np.array(colours, np.uint8)[None], 48, axis=0).repeat(16, axis=1)
    with VideoWriter(tmp_path / "clip.mp4") as writer:
        writer.write(image, 0.0)
    read = next(frames(tmp_path / "clip.mp4")).image_rgb
    assert np.abs(read[24, 8::16].astype(int) - colours).max() <= 6


@pytest.mark.parametrize(
    ("size", "written"),
    [
        ((65, 49), (64, 48)),
        ((18, 22), (18, 22)),
        ((1, 1), (16, 16)),
        ((3, 5), (16, 16)),
        ((2 * LONGEST_PX + 2, 90), (LONGEST_PX, 44)),
    ],
)
def test_sizes_become_playable(tmp_path: Path, size: tuple[int, int], written: tuple[int, int]) -> None:
    with VideoWriter(tmp_path / "clip.mp4") as writer:
        writer.write(grey(200, width=size[0], height=size[1]), 0.0)
        assert writer.size == written
    image = next(frames(tmp_path / "clip.mp4")).image_rgb
    assert image.shape[1::-1] == written
    assert abs(int(image[written[1] // 2, written[0] // 2, 0]) - 200) < 6


def test_frames_of_another_size_are_fitted_into_that_of_the_first(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.mp4") as writer:
        writer.write(grey(200, width=64, height=48), 0.0)
        writer.write(grey(200, width=300, height=50), 0.1)
        writer.write(grey(200, width=16, height=64), 0.2)
    first, wide, tall = (frame.image_rgb[..., 0] for frame in frames(tmp_path / "clip.mp4"))
    assert first.shape == wide.shape == tall.shape == (48, 64)
    assert first.min() > 190
    assert wide[22:26].min() > 190
    assert wide[:16].max() < 10
    assert tall[:, 29:35].min() > 190
    assert tall[:, :20].max() < 10


def test_without_a_frame_there_is_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_came_before_a_failure_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / "clip.mp4") as writer:  # noqa: PT012
        for number in range(20):
            writer.write(grey(number), number / 10)
        _ = 1 / 0
    assert len(list(frames(tmp_path / "clip.mp4"))) == 20


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"clip\.mp4: cannot be written as video \(No such file"),
        VideoWriter(tmp_path / "none" / "clip.mp4") as writer,
    ):
        writer.write(grey(1), 0.0)


def test_there_is_video_without_x264(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_writer, "ENCODERS", video_writer.ENCODERS[1:])
    parts = [write(tmp_path / f"{start}.mp4", [start + 0.1 * n for n in range(5)]) for start in (0, 1)]
    join(parts, None, tmp_path / "joined.mp4")
    assert [frame.time_s for frame in frames(tmp_path / "joined.mp4")] == pytest.approx(
        [0, 0.1, 0.2, 0.3, 0.4, 1.0, 1.1, 1.2, 1.3, 1.4], abs=2e-5
    )


def test_joined_parts_are_as_if_written_at_once(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.2, 45)).round(3).tolist()
    images = [grey(number * 5) for number in range(45)]
    parts = []
    for number, (start, end) in enumerate([(0, 20), (20, 21), (21, 45)]):
        parts.append(tmp_path / f"{number}.mp4")
        with VideoWriter(parts[-1]) as writer:
            for image, time_s in zip(images[start:end], times[start:end], strict=True):
                writer.write(image, time_s)
    join(parts, None, tmp_path / "joined.mp4")
    read = list(frames(tmp_path / "joined.mp4"))
    assert [frame.time_s + times[0] for frame in read] == pytest.approx(times, abs=3e-5)
    assert all(np.abs(frame.image_rgb.astype(int) - image).max() < 6 for frame, image in zip(read, images, strict=True))
    assert sounds(tmp_path / "joined.mp4") == []


def test_parts_that_do_not_fit_are_told_and_nothing_is_left(tmp_path: Path) -> None:
    first = write(tmp_path / "1.mp4", [0.0, 0.1])
    second = write(tmp_path / "2.mp4", [0.2, 0.3], size=(96, 64))
    with pytest.raises(OutputError, match=r"2\.mp4: differs from the first part in size"):
        join([first, second], None, tmp_path / "joined.mp4")
    with pytest.raises(OutputError, match="no part to write"):
        join([], None, tmp_path / "joined.mp4")
    with pytest.raises(OutputError, match=r"joined\.mp4: cannot be written as video \(No such file"):
        join([tmp_path / "none.mp4"], None, tmp_path / "joined.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.mp4", "2.mp4"]


@pytest.mark.parametrize(
    ("name", "codec", "stored"),
    [
        ("a.mp4", "aac", "aac"),
        ("a.mkv", "libmp3lame", "mp3float"),
        ("a.ts", "aac", "aac"),
        ("a.mkv", "libopus", "opus"),
        ("a.mkv", "pcm_s16le", "aac"),
        ("a.mkv", "mp2", "aac"),
    ],
)
def test_sound_stays_with_the_pictures(tmp_path: Path, name: str, codec: str, stored: str) -> None:
    source = make_source(tmp_path / name, codec)
    parts = [write(tmp_path / f"{start}.mp4", [start + 0.1 * number for number in range(10)]) for start in (0, 1)]
    join(parts, source, tmp_path / "joined.mp4")
    assert sounds(tmp_path / "joined.mp4") == [stored]
    begin_s, end_s = heard(tmp_path / "joined.mp4")
    assert begin_s == pytest.approx(BEEP_S, abs=0.03)
    assert end_s == pytest.approx(LENGTH_S, abs=0.08)
    assert len(list(frames(tmp_path / "joined.mp4"))) == 20


def test_sound_stays_with_the_pictures_where_a_cover_comes_first(tmp_path: Path) -> None:
    source = make_source(tmp_path / "a.mp4", "aac", cover=True)
    content = source.read_bytes()
    tracks, cover = content.index(b"trak") - 4, content.index(b"udta") - 4
    end = cover + int.from_bytes(content[cover : cover + 4])
    source.write_bytes(content[:tracks] + content[cover:end] + content[tracks:cover] + content[end:])
    with av.open(str(source)) as container:
        assert container.streams.video[0].disposition & Disposition.attached_pic
    join([write(tmp_path / "1.mp4", [0.1 * number for number in range(20)])], source, tmp_path / "joined.mp4")
    assert heard(tmp_path / "joined.mp4")[0] == pytest.approx(BEEP_S, abs=0.03)


def test_silence_that_a_file_leaves_out_is_kept(tmp_path: Path) -> None:
    source = make_source(tmp_path / "a.mkv", "pcm_s16le", gap=True)
    join([write(tmp_path / "1.mp4", [0.0, 1.9])], source, tmp_path / "joined.mp4")
    assert heard(tmp_path / "joined.mp4")[0] == pytest.approx(BEEP_S, abs=0.03)


def test_a_long_silence_is_not_held_in_memory(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        picture = av.VideoFrame.from_ndarray(grey(0), format="rgb24")
        container.mux([*video.encode(picture), *video.encode(None)])
        for start_s in (0, 100):
            noise = np.full((1, 1600), 12_000, np.int16)
            sound = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = RATE, start_s * RATE, Fraction(1, RATE)
            container.mux(audio.encode(sound))
    part = write(tmp_path / "1.mp4", [0.0, 100.5])
    tracemalloc.start()
    join([part], tmp_path / "a.mkv", tmp_path / "joined.mp4")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * RATE * 4  # bytes: a tenth of the silence
    assert heard(tmp_path / "joined.mp4")[1] == pytest.approx(100.1, abs=0.1)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_sound_ends_with_the_pictures(tmp_path: Path, codec: str) -> None:
    source = make_source(tmp_path / "a.mkv", codec)
    join([write(tmp_path / "1.mp4", [0.1 * number for number in range(12)])], source, tmp_path / "joined.mp4")
    assert heard(tmp_path / "joined.mp4")[1] == pytest.approx(1.2, abs=0.1)


def test_a_source_without_sound_gives_none(tmp_path: Path) -> None:
    part = write(tmp_path / "1.mp4", [0.0, 0.1])
    join([part], part, tmp_path / "joined.mp4")
    assert sounds(tmp_path / "joined.mp4") == []


def test_sound_that_cannot_be_read_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    part = write(tmp_path / "1.mp4", [0.0, 0.1])
    with caplog.at_level(logging.WARNING):
        join([part], tmp_path / "gone.mp4", tmp_path / "joined.mp4")
    assert "gone.mp4: its sound cannot be read from 0.0 s on (No such file" in caplog.text
    assert len(list(frames(tmp_path / "joined.mp4"))) == 2


def test_sound_of_a_kind_that_is_not_known_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_source(tmp_path / "a.mkv", "aac")
    source.write_bytes(source.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    with caplog.at_level(logging.WARNING):
        join([write(tmp_path / "1.mp4", [0.0, 0.1])], source, tmp_path / "joined.mp4")
    assert "a.mkv: its sound cannot be read from 0.0 s on (FFmpeg cannot decode its kind here)" in caplog.text
    assert sounds(tmp_path / "joined.mp4") == []
    assert len(list(frames(tmp_path / "joined.mp4"))) == 2


def test_sound_that_mp4_refuses_is_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sound, "COPIED", {"pcm_mulaw"})
    source = make_source(tmp_path / "a.mov", "pcm_mulaw")
    with caplog.at_level(logging.WARNING):
        join([write(tmp_path / "1.mp4", [0.0, 0.1])], source, tmp_path / "joined.mp4")
    assert "a.mov: its sound is left out" in caplog.text
    assert len(list(frames(tmp_path / "joined.mp4"))) == 2


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_a_source_that_breaks_off_gives_its_sound_up_to_there(tmp_path: Path, codec: str) -> None:
    whole = make_source(tmp_path / "a.mkv", codec)
    torn = tmp_path / "torn.mkv"
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4])
    join([write(tmp_path / "1.mp4", [0.1 * number for number in range(20)])], torn, tmp_path / "joined.mp4")
    assert 0.5 < heard(tmp_path / "joined.mp4")[1] < 1.9
    assert len(list(frames(tmp_path / "joined.mp4"))) == 20
