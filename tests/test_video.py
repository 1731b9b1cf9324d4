"""Video: frames in order and upright, errors that say what is wrong, and what came before them kept."""

from __future__ import annotations

import gc
import io
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, cast

import av
import numpy as np
import pytest
from PIL import Image

from mien import video
from mien.errors import VideoError
from mien.video import Clock, duration_of, frame_at, frames

RATE = 10


def write_clip(path: Path, *, seconds: float = 3.0, noise: bool = False, turned_deg: int = 0) -> Path:
    """Write a clip whose frame at t seconds is grey of 60 * t, its upper left quarter white."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.bit_rate = 2_000_000
        if turned_deg:
            stream.set_display_rotation(turned_deg)
        for number in range(round(seconds * RATE)):
            image = np.full((48, 64, 3), 60 * number / RATE, np.uint8)
            image[:24, :32] = 255
            if noise:
                image[:] = np.random.default_rng(number).integers(0, 256, image.shape)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Return a clip of three seconds."""
    return write_clip(tmp_path / "clip.mp4")


def test_every_frame_comes_once_in_order(clip: Path) -> None:
    read = list(frames(clip))
    assert [round(frame.time_s, 3) for frame in read] == [number / RATE for number in range(30)]
    assert all(frame.image_rgb.shape == (48, 64, 3) and frame.image_rgb.dtype == np.uint8 for frame in read)
    assert np.allclose([frame.image_rgb[-1, -1].mean() for frame in read], [6 * n for n in range(30)], atol=8)


@pytest.mark.parametrize("every", [0.5, 1.0, 0.95])
def test_ticks_are_so_many_seconds_apart(clip: Path, every: float) -> None:
    times = [frame.time_s for frame in frames(clip, every_s=every)]
    assert times[0] == 0
    assert all(0 <= time - number * every < 1 / RATE + 1e-3 for number, time in enumerate(times))
    assert len(times) == int(2.9 / every) + 1


def test_a_time_shows_the_frame_that_frames_gives_there(clip: Path) -> None:
    for frame in frames(clip, every_s=0.7):
        assert np.abs(frame_at(clip, frame.time_s).astype(int) - frame.image_rgb).max() <= 2


@pytest.mark.parametrize("suffix", [".ts", ".mpg", ".h264"])
def test_a_time_shows_its_frame_where_the_file_has_no_index(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    with av.open(str(path), "w") as container:
        kind = "mpeg2video" if suffix == ".mpg" else "libx264"
        made = container.add_stream(kind, rate=25, options={"g": "50", "preset": "ultrafast"})
        stream = cast("av.VideoStream", made)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(125):
            grey = np.full((48, 64, 3), 2 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode(None))
    for frame in frames(path, every_s=0.9):
        assert np.abs(frame_at(path, frame.time_s).astype(int) - frame.image_rgb).max() <= 2, frame.time_s


def test_a_clip_says_how_long_it_is(clip: Path) -> None:
    assert duration_of(clip) == pytest.approx(3.0, abs=0.15)


def test_frames_are_turned_as_the_file_says(tmp_path: Path) -> None:
    upright = next(frames(write_clip(tmp_path / "upright.mp4"))).image_rgb
    for turned_deg in (90, -90, 180):
        turned = next(frames(write_clip(tmp_path / f"{turned_deg}.mp4", turned_deg=turned_deg))).image_rgb
        assert np.array_equal(turned, np.rot90(upright, turned_deg // 90)), turned_deg


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(4, 3), (192, 108)), (Fraction(8, 9), (144, 122)), (Fraction(40), (144, 108))]
)
def test_pixels_are_made_as_wide_as_high(tmp_path: Path, aspect: Fraction, size: tuple[int, int]) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 144, 108, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        image = np.zeros((108, 144, 3), np.uint8)
        image[:, 72:] = 200
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    shown = [frame.image_rgb for frame in frames(tmp_path / "a.mp4")]
    assert {one.shape for one in shown} == {(size[1], size[0], 3)}
    assert shown[0][:, : size[0] // 2 - 4].max() < 40
    assert shown[0][:, size[0] // 2 + 4 :].min() > 160
    assert frame_at(tmp_path / "a.mp4", 0.1).shape == shown[0].shape


def test_frames_are_mirrored_as_the_file_says(tmp_path: Path) -> None:
    upright = next(frames(write_clip(tmp_path / "upright.mp4"))).image_rgb
    turned = write_clip(tmp_path / "turned.mp4", turned_deg=90)
    content = turned.read_bytes()
    matrix = np.array([0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30], ">i4")
    assert content.count(matrix.tobytes()) == 1
    for (a, b, c, d), expected in {
        (-1, 0, 0, 1): upright[:, ::-1],
        (1, 0, 0, -1): upright[::-1],
        (0, 1, 1, 0): upright.transpose(1, 0, 2),
        (0, -1, -1, 0): upright[::-1, ::-1].transpose(1, 0, 2),
    }.items():
        mirrored = np.array([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30], ">i4")
        turned.write_bytes(content.replace(matrix.tobytes(), mirrored.tobytes()))
        assert np.array_equal(next(frames(turned)).image_rgb, expected), (a, b, c, d)


def write_timed(path: Path, stamps: Sequence[int], *, codec: Literal["mpeg4", "libx264"] = "mpeg4") -> Path:
    """Write a clip whose frames have these time stamps, in hundredths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=100)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for stamp in stamps:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), stamp % 256, np.uint8), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_come_at_their_own_times_whatever_the_rate(tmp_path: Path, suffix: str) -> None:
    stamps = [0, 3, 50, 51, 52, 900, 905]  # a long still ends in no early end
    times = [frame.time_s for frame in frames(write_timed(tmp_path / f"uneven{suffix}", stamps))]
    assert times == pytest.approx([stamp / 100 for stamp in stamps], abs=0.002)


def test_times_count_from_the_first_frame_whatever_its_stamp(tmp_path: Path) -> None:
    times = [frame.time_s for frame in frames(write_timed(tmp_path / "late.mkv", [500, 510, 520]))]
    assert times == pytest.approx([0, 0.1, 0.2])


def times_of(stamps: Iterable[float | None], *, rate: int = 10) -> list[float]:
    """Return the times that a clock gives to frames with these time stamps."""
    clock = Clock(cast(av.VideoStream, SimpleNamespace(guessed_rate=Fraction(rate), average_rate=None)))
    return [round(clock.time_of(cast(av.VideoFrame, SimpleNamespace(time=stamp))), 6) for stamp in stamps]


def test_times_only_go_forward() -> None:
    assert times_of([-0.2, -0.1, 0.0]) == [0.0, 0.1, 0.2]
    assert times_of([None, None, None]) == [0.0, 0.1, 0.2]
    assert times_of([1.0, None, 1.2]) == [0.0, 0.1, 0.2]
    assert times_of([0, 0.2, 0.1, 0.4]) == [0, 0.2, 0.3, 0.4]
    assert times_of([0.0] * 20) == [round(number / 10, 6) for number in range(20)]


def test_times_that_start_anew_go_on() -> None:
    assert times_of([0.0, 5.0, 10.0, 0.0, 5.0]) == [0.0, 5.0, 10.0, 10.1, 15.1]


def test_video_without_times_goes_by_its_rate(tmp_path: Path) -> None:
    read = list(frames(write_timed(tmp_path / "bare.h264", range(10), codec="libx264")))
    assert len(read) == 10
    assert all(later.time_s > earlier.time_s for earlier, later in pairwise(read))


def test_the_size_may_change_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "sizes.ts"
    parts = []
    for width, height in ((64, 48), (96, 160)):
        with av.open(str(tmp_path / "part.ts"), "w") as container:
            stream = container.add_stream("mpeg2video", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for _ in range(5):
                container.mux(stream.encode(av.VideoFrame(width, height, "yuv420p")))
            container.mux(stream.encode(None))
        parts.append((tmp_path / "part.ts").read_bytes())
    path.write_bytes(b"".join(parts))
    read = list(frames(path))
    assert {frame.image_rgb.shape for frame in read} == {(48, 64, 3), (160, 96, 3)}
    assert all(later.time_s > earlier.time_s for earlier, later in pairwise(read))


@pytest.mark.parametrize("layout", ["yuv420p10le", "yuv444p", "yuva420p"])
def test_deep_and_transparent_video_is_read_as_rgb(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "deep.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, layout
        image = np.full((48, 64, 3), (200, 100, 50), np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=layout)))
        container.mux(stream.encode(None))
    read = next(frames(path)).image_rgb
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - image).max() <= 6


def spoil(path: Path, start: float, end: float) -> None:
    """Overwrite a part of a file, given as shares of its length, with noise."""
    content = bytearray(path.read_bytes())
    first, last = int(start * len(content)), int(end * len(content))
    content[first:last] = np.random.default_rng(0).bytes(last - first)
    path.write_bytes(content)


def test_damaged_frames_in_the_middle_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_clip(tmp_path / "spoilt.mp4", seconds=6, noise=True)
    spoil(path, 0.4, 0.5)
    with caplog.at_level(logging.WARNING):
        read = list(frames(path))
    assert 40 < len(read) < 60
    assert read[-1].time_s == pytest.approx(5.9)
    assert f"{60 - len(read)} of 60 frames damaged, left out" in caplog.text


def test_frames_damaged_to_the_end_are_told(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "spoilt.mp4", seconds=6, noise=True)
    spoil(path, 0.4, 0.98)
    with pytest.raises(VideoError, match=r"damaged from 2\.\d s to its end"):
        list(frames(path))


def test_long_damage_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "spoilt.mp4", seconds=6, noise=True)
    spoil(path, 0.1, 0.9)
    monkeypatch.setattr(video, "MAX_DAMAGED", 20)
    with pytest.raises(VideoError, match=r"damaged for long"):
        list(frames(path))


def test_a_damaged_end_is_told_and_what_came_before_is_kept(clip: Path, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mkv", seconds=6, noise=True)
    torn = tmp_path / "torn.mkv"
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    read = []
    with pytest.raises(VideoError, match=r"torn\.mkv: ends in the middle, at \d\.\d of 6\.0 s"):  # noqa: PT012
        for frame in frames(torn):
            read.append(frame.time_s)  # noqa: PERF401 - what came before the error is what is asked
    assert 5 < len(read) < 60


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100])
def test_what_is_no_video_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"bad\.mp4: cannot be read as video"):
        list(frames(path))
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        frame_at(path, 0)


def test_sound_alone_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match="no video in it, audio alone"):
        list(frames(path))


def test_the_cover_of_a_song_is_no_video(tmp_path: Path) -> None:
    path, cover = tmp_path / "song.mp3", io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(cover, "PNG")
    with av.open(str(path), "w") as container:
        sound = container.add_stream("mp3", rate=44100)
        picture = container.add_stream("png", rate=1)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "rgb24"
        picture.disposition = av.stream.Disposition.attached_pic
        container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1152), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 44100
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    with pytest.raises(VideoError, match="no video in it, a picture and audio alone"):
        list(frames(path))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF"])
def test_a_picture_that_is_named_a_video_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "clip.mp4"
    Image.new("RGB", (64, 48), "red").save(path, kind)
    with pytest.raises(VideoError, match=r"clip\.mp4: a picture, not a video"):
        list(frames(path))


def test_a_video_without_a_frame_is_told(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"empty\.avi"):
        list(frames(write_timed(tmp_path / "empty.avi", [])))


def test_a_recording_without_its_index_is_told(clip: Path) -> None:
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(VideoError, match="cut off before its index"):
        list(frames(clip))


def test_absurd_sizes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16384, 8192, "monob"
        container.mux(stream.encode(av.VideoFrame(16384, 8192, "monob")))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match=r"expected frames of up to 67,108,864 pixels"):
        list(frames(path))


def test_huge_frames_are_decoded_by_few_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "clip.mp4")
    monkeypatch.setattr(video, "_THREADED_PIXELS", 64 * 48)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    with av.open(str(path)) as container:
        assert video.prepare(container, "clip").codec_context.thread_count == 1


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{clip}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {clip}\n",
    ],
)
def test_a_list_of_other_files_is_no_video(tmp_path: Path, text: str) -> None:
    write_clip(tmp_path / "clip.mp4")
    path = tmp_path / "list.mp4"
    path.write_text(text.format(clip="clip.mp4"))
    with pytest.raises(VideoError, match=r"list\.mp4: cannot be read as video"):
        list(frames(path))


def test_a_name_with_a_colon_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "12:30.mp4", seconds=0.5)
    monkeypatch.chdir(tmp_path)
    assert len(list(frames("12:30.mp4"))) == 5


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="No such file"):
        list(frames(tmp_path / "none.mp4"))


def test_no_frame_stays_in_memory_when_a_video_is_read(shared: Path) -> None:
    def frames_left() -> int:
        return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())

    gc.collect()
    before = frames_left()
    gc.disable()
    try:
        deque(frames(shared / "data" / "scenes" / "no-face.mp4", every_s=1), maxlen=0)
        assert frames_left() == before
    finally:
        gc.enable()


def test_the_real_clips_are_read(shared: Path) -> None:
    read = list(frames(shared / "data" / "scenes" / "expressive-woman.mp4", every_s=5))
    assert [frame.image_rgb.shape for frame in read] == [(360, 640, 3)] * 4
