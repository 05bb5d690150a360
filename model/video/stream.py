"""Choose the video stream of a container, and describe it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import islice

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from model.video.container import MAX_PIXELS, MOTION_JPEG, RAW_STREAMS
from model.video.display import orientation_of, square_pixel_size
from model.video.errors import NO_DECODER, STILL_IMAGE, VideoError
from model.video.info import VideoInfo
from model.video.source import ByteStream

STILL_IMAGE_BRANDS = frozenset({"avif", "heic", "heix", "mif1"})
# A stream without a second packet among this many is a still image, or is only announced.
COUNTED_PACKETS = 5000
# For these containers, the average rate that FFmpeg states is that of fields or of clock ticks.
FIELD_RATES = ("dv", "gxf")
# FFmpeg guesses absurd rates (90000 Hz) for streams that do not state one.
MAX_RATE_HZ = 1000.0


def video_streams(container: InputContainer) -> list[VideoStream]:
    """Return the video streams of a container, without cover images. Raises VideoError if there is none."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams and container.streams.data and container.format.name == "rtsp":
        raise VideoError("source_unsupported", NO_DECODER)
    if not streams:
        raise VideoError("no_video_stream", "The source has no video stream. Send one that has video.")
    if container.metadata.get("major_brand") in STILL_IMAGE_BRANDS:
        raise VideoError("source_unsupported", STILL_IMAGE)
    return streams


def choose_stream(
    container: InputContainer, number: int | None, open_from_start: Callable[[], InputContainer] | None
) -> tuple[VideoStream, int | None, int]:
    """Return the video stream to read, its number if there are several, and how many there are.

    Args:
        container: an open source.
        number: the number that was asked for, from 0; None for the best.
        open_from_start: opens the source again after its packets were counted; None if it can be read only once.

    Raises:
        VideoError: the source has no such stream.
    """
    streams = video_streams(container)
    if number is None and len(streams) > 1:
        packets = None
        if open_from_start is not None:
            packets = count_packets(container, streams)
            streams = video_streams(open_from_start())
        number = best_stream(streams, packets)
    if number is not None and number >= len(streams):
        detail = f"The source has no video stream {number}. Its streams are numbered from 0."
        raise VideoError("no_video_stream", f"{detail} The last is {len(streams) - 1}.")
    return streams[number or 0], number, len(streams)


def best_stream(streams: Sequence[VideoStream], packets: Mapping[int, int] | None = None) -> int:
    """Return the position in `streams` of the one to analyse.

    First come streams with more than one frame, then those of a known size, those marked as default, those with a
    stated frame rate, and those that come first in the container.

    Args:
        streams: the video streams of a container.
        packets: the number of packets of each, by its index in the container, as far as they were counted.
    """

    def rank(position: int) -> tuple[bool, bool, bool, bool, int]:
        stream = streams[position]
        counted = stream.frames if packets is None else packets.get(stream.index, 0)
        is_moving = counted > 1 or (packets is None and counted == 0)
        has_size = stream.codec_context is not None and stream.width * stream.height > 0
        is_default = bool(stream.disposition & Disposition.default)
        return is_moving, has_size, is_default, plausible_rate_hz(stream.average_rate) is not None, -position

    return max(range(len(streams)), key=rank)


def count_packets(container: InputContainer, streams: Sequence[VideoStream]) -> Counter[int]:
    """Count the packets of each stream, by its index, until each has two or COUNTED_PACKETS were read."""
    found: Counter[int] = Counter()
    with suppress(FFmpegError):  # damaged further on, which is reported when it is read
        for packet in islice(container.demux(*streams), COUNTED_PACKETS):
            found[packet.stream_index] += packet.size > 0
            if all(found[stream.index] > 1 for stream in streams):
                break
    return found


def discard_other_variants(container: InputContainer, stream: VideoStream) -> None:
    """Prevent FFmpeg from downloading the other variants and the audio of a playlist."""
    if container.format.name == "hls":
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all


def prepare_decoder(stream: VideoStream) -> None:
    """Configure a stream to decode on one thread and within limits. Raises VideoError if it cannot be decoded."""
    if stream.codec_context is None:
        raise VideoError("source_unsupported", NO_DECODER)
    if stream.width * stream.height > MAX_PIXELS:
        size = f"{stream.width} x {stream.height}"
        raise VideoError("limit_exceeded", f"Frames of {size} pixels are too large. Send at most 8192 x 4352.")
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}


def probe(
    source: str | ByteStream, container: InputContainer, stream: VideoStream, frame: VideoFrame, *, live: bool
) -> VideoInfo:
    """Describe a stream of which a frame has been decoded."""
    orientation = orientation_of(frame)
    width, height = orientation.size(*square_pixel_size(frame, stream.sample_aspect_ratio))
    # For a stream of bytes the stated duration may be that of the first fragment.
    duration_s = _duration_s(container, stream) if isinstance(source, str) and not live else None
    codec = stream.codec_context.codec.name
    return VideoInfo(
        codec,
        width,
        height,
        _rate_hz(container, stream, frame, live=live),
        duration_s,
        orientation.rotation_deg,
        live,
        orientation.is_mirrored,
    )


def _rate_hz(container: InputContainer, stream: VideoStream, frame: VideoFrame, *, live: bool) -> float | None:
    """Return the frame rate: the stated average, what the codec states, or a guess; without timestamps a guess."""
    if live and container.format.name in MOTION_JPEG:
        # Nothing in it states a rate, so FFmpeg invents one.
        return None
    stated = stream.codec_context.framerate
    if stream.average_rate is None and container.format.name == "rtsp":
        # FFmpeg has seen too little of the stream for a guess.
        return plausible_rate_hz(stated)
    if frame.pts is None and frame.dts is None:
        return plausible_rate_hz(stream.guessed_rate)
    if container.format.name in FIELD_RATES:
        return plausible_rate_hz(stream.guessed_rate)
    if stream.average_rate is not None:
        return plausible_rate_hz(stream.average_rate)
    # For a pushed stream, FFmpeg guesses the rate of its fields. A codec that counts in milliseconds states no rate.
    return plausible_rate_hz(stated if stated and stated < MAX_RATE_HZ else stream.guessed_rate)


def stated_end_s(container: InputContainer, stream: VideoStream) -> float:
    """Return when a source ends by its header, in seconds from its start; 0 where that is not stated."""
    stated_s = length_s(container) or 0.0
    if container.format.name == "avi" and stream.average_rate:
        # Without its index, the duration of an AVI is that of the frames that exist.
        stated_s = max(stated_s, stream.frames / float(stream.average_rate))
    return stated_s


def length_s(container: InputContainer) -> float | None:
    """Return the stated length of a container in seconds, or None where it is missing or impossible."""
    if container.format.name in RAW_STREAMS:
        # FFmpeg derives it from the bit rate.
        return None
    length = container.duration or 0
    if container.format.name in ("matroska,webm", "nut"):
        # FFmpeg writes a segment's end time as its duration, because segments keep the clock of the recorder.
        length -= max(0, container.start_time or 0)
    return length / av.time_base if length > 0 else None


def _duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    """Return when a video stream ends, by its header, in seconds from the start of the container."""
    if not stream.duration or not stream.time_base or container.format.name in RAW_STREAMS:
        return length_s(container)
    lead = 0.0
    if stream.start_time is not None and container.start_time is not None:
        lead = float(stream.start_time * stream.time_base) - container.start_time / av.time_base
    return float(stream.duration * stream.time_base) + max(0.0, lead)


def plausible_rate_hz(rate: Fraction | None) -> float | None:
    """Return a stated frame rate in Hz, or None where it is missing, zero or absurd."""
    return float(rate) if rate is not None and 0 < rate <= MAX_RATE_HZ else None
