"""The sound of a video as packets for an MP4 file: copied where it can be, encoded anew where not."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias, cast

import av
import av.container
import numpy as np
from numpy.typing import NDArray

from mien.errors import VideoError
from mien.files import printable
from mien.video import open_file, prepare

__all__ = ["sound_packets"]

Sound: TypeAlias = "av.Packet[av.AudioStream]"
Samples: TypeAlias = NDArray[np.float32]  # (channels, n)
Heard: TypeAlias = tuple[Samples, float | None]  # and the time of the first of them, where it is known

log = logging.getLogger(__name__)

COPIED = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"})  # what players find in an MP4 file
AAC_RATES = frozenset(
    {96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000}
)  # ISO 14496-3
PREROLL_S = 0.1  # sound before the first picture that decoders need to be right at it; players do not play it
LEEWAY_S = 0.05  # frames of sound that lie so near to the end of the one before follow it directly


@contextmanager
def sound_packets(source: str | Path, output: av.container.OutputContainer, end_s: float) -> Iterator[Iterator[Sound]]:
    """Yield the packets of a video's sound for `output`, to which a stream for them was added; none where it has none.

    Times count from the video's first frame; what is before it or after end_s is left out.  Where the sound cannot be
    read, it ends there, with a warning.
    """
    try:
        start_s = _first_picture_s(source)
        container = open_file(source)
    except (av.FFmpegError, OSError, ValueError, VideoError) as error:
        _warn(source, 0.0, error)
        yield iter(())
        return
    with container:
        stream = next(iter(container.streams.audio), None)
        if stream is not None and cast("object", stream.codec_context) is None:  # whatever PyAV's types say
            _warn(source, 0.0, "FFmpeg cannot decode its kind here")
            stream = None
        packets = iter(()) if stream is None else _readable(container, stream, start_s, source)
        first = next(packets, None)
        if stream is None or first is None:
            yield iter(())
            return
        packets = itertools.chain([first], packets)
        if stream.codec_context.codec.canonical_name in COPIED:
            yield _copied(packets, output.add_stream_from_template(stream, opaque=True), end_s)
        else:
            yield _encoded(packets, _aac(stream, output), end_s)


def _first_picture_s(source: str | Path) -> float:
    """Return the time of a video's first frame, on the clock of its file."""
    with open_file(source) as container:
        pictures = prepare(container, printable(source))
        times = (frame.time for frame in container.decode(pictures) if frame.pts is not None)
        return next(times, 0.0)


def _readable(
    container: av.container.InputContainer, stream: av.AudioStream, start_s: float, source: str | Path
) -> Iterator[Sound]:
    """Yield the packets of a stream as far as they can be read, their times counted from start_s."""
    assert stream.time_base is not None
    shift = round(start_s / stream.time_base)
    reached_s = 0.0
    try:
        for packet in container.demux(stream):
            if packet.pts is None or packet.dts is None:  # the end, or a packet that no time is known of
                continue
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            reached_s = float(packet.pts * stream.time_base)
            yield packet
    except (av.FFmpegError, OSError) as error:
        _warn(source, reached_s, error)


def _copied(packets: Iterator[Sound], stream: av.AudioStream, end_s: float) -> Iterator[Sound]:
    """Yield packets for a stream as they are."""
    last_dts = None
    for packet in packets:
        time_s = float((packet.pts or 0) * packet.time_base)
        if time_s >= end_s:
            return
        # Times that do not rise come of damage or of streams that were cut together: MP4 does not take them.
        if time_s >= -PREROLL_S and packet.dts is not None and (last_dts is None or packet.dts > last_dts):
            last_dts = packet.dts
            packet.stream = stream
            yield packet


def _aac(stream: av.AudioStream, output: av.container.OutputContainer) -> av.AudioStream:
    """Return a new stream of AAC for the sound of another one, in mono or stereo."""
    rate = stream.codec_context.sample_rate
    layout = "mono" if stream.codec_context.layout.nb_channels == 1 else "stereo"
    return output.add_stream("aac", rate=rate if rate in AAC_RATES else 48000, layout=layout)


def _encoded(packets: Iterator[Sound], stream: av.AudioStream, end_s: float) -> Iterator[Sound]:
    """Yield packets encoded anew; silence where there is nothing to be heard for a while."""
    rate, layout = stream.codec_context.sample_rate, stream.codec_context.layout
    decoded = _decoded(packets, av.AudioResampler("fltp", layout, rate))
    written = 0
    for samples in _in_place(decoded, rate=rate, end=round(end_s * rate)):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", layout.name)
        frame.sample_rate, frame.pts, frame.time_base = rate, written, Fraction(1, rate)
        written += samples.shape[1]
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _in_place(decoded: Iterator[Heard], *, rate: int, end: int) -> Iterator[Samples]:
    """Yield samples that follow each other from time 0 until `end` of them: cut where they overlap, silence in between.

    Silence comes a second at a time, as it may last for hours.
    """
    written = 0
    for samples, time_s in decoded:
        position = min(end, round(time_s * rate)) if time_s is not None else written
        if position - written > LEEWAY_S * rate:
            for start in range(written, position, rate):
                yield np.zeros((len(samples), min(rate, position - start)), np.float32)
            written = position
        elif written - position > LEEWAY_S * rate:
            samples = samples[:, written - position :]
        samples = samples[:, : end - written]
        if samples.shape[1]:
            yield samples
            written += samples.shape[1]
        if written >= end:
            return


def _decoded(packets: Iterator[Sound], resampler: av.AudioResampler) -> Iterator[Heard]:
    """Yield samples and when they are heard; a packet that cannot be decoded is passed over."""
    for packet in packets:
        try:
            frames = [resampled for frame in packet.decode() for resampled in resampler.resample(frame)]
        except av.FFmpegError:
            continue
        for frame in frames:
            yield np.asarray(frame.to_ndarray(), np.float32), frame.time


def _warn(source: str | Path, reached_s: float, why: Exception | str) -> None:
    """Tell that the sound of a video ends early."""
    reason = getattr(why, "strerror", None) or why
    log.warning(
        "%s: its sound cannot be read from %.1f s on (%s) and is left out", printable(source), reached_s, reason
    )
