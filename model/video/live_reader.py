"""Read a live source, which cannot be paused or rewound: frames are timed as they arrive."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from av.packet import Packet
from av.video.frame import VideoFrame

from model.video.container import MOTION_JPEG
from model.video.errors import VideoError
from model.video.frame import Frame, FrameInputs, FrameSampler, OnFrame
from model.video.info import VideoInfo
from model.video.live_timing import LiveTiming
from model.video.media_time import SAME_TIME_S, MediaClock
from model.video.packet_flow import UNDECODABLE
from model.video.packets import PacketReader
from model.video.quiet_decoder import QuietDecoder
from model.video.quiet_gate import QuietGate

# If there were errors and no frame for this long, the codec has probably changed, and the stream must be opened again.
UNDECODABLE_S = 2.0
# A packet for which the reader waited longer than this had not arrived yet when it was requested.
AWAITED_S = 0.002
# A playlist lists about the last half minute, which is read soon after opening. Any other repeated timestamps come from
# an encoder that restarted.
LISTED_S, LISTED_WITHIN_S = 120.0, 15.0


class LiveReader:
    """One connection to a live source, whose `frames()` reads it once.

    Args:
        packets: the open source, which stays the caller's to close.
        timing: sets the media time of each frame, and counts skipped frames.
        seen_until_s: timestamp of the newest frame of the previous connection; its playlist may list that frame again.
        gate: decides which packets need not be decoded; without one, all are. `is_watched` returns whether someone sees
            the frames, so that all of them must be decoded.
    """

    def __init__(
        self,
        packets: PacketReader,
        timing: LiveTiming,
        seen_until_s: float | None = None,
        *,
        gate: QuietGate | None = None,
        is_watched: Callable[[], bool] = lambda: False,
    ) -> None:
        self._packets, self._timing, self._seen_until_s = packets, timing, seen_until_s
        self._opened_at_s = packets.flow.arrived_at_s
        self.timestamp_s: float | None = None
        """Timestamp of the newest frame, as stated by the source; None if it states none."""
        self._sampler = FrameSampler(packets)
        self._gate = gate
        self._quiet = None if gate is None else QuietDecoder(packets, gate, is_watched)

    @property
    def info(self) -> VideoInfo:
        """What the stream states about itself, or what is measured; it changes when the size of the frames does."""
        info, times = self._packets.info, self._packets.times
        if self._quiet is not None:
            info = replace(info, decoding=self._quiet.decoding)
        if times is None:
            return info
        return replace(info, rate_hz=info.rate_hz or times.rate_hz, capture_offset_s=times.capture_offset_s)

    def frames(self, sample_hz: float, frame_input: FrameInputs, on_frame: OnFrame | None = None) -> Iterator[Frame]:
        """Yield the first frame of each slot of 1/sample_hz seconds as it arrives, as inputs of the network.

        With a gate, a frame that shows nothing new has the images of the previous one.

        Args:
            on_frame: called for each decoded frame, before it is scaled, with its media time and whether it is taken.

        Raises:
            VideoError: the source failed or fell silent.
        """
        for frame in self._sampler.sample(self._timed(), sample_hz, frame_input, None, on_frame):
            yield frame if self._gate is None else replace(frame, images=self._gate.see(frame.images))

    def snapshot_jpeg(self, max_side: int = 640) -> bytes:
        """Return the last frame of `frames()`, whole and upright, as a JPEG with no side over `max_side` pixels."""
        return self._sampler.snapshot_jpeg(max_side)

    def _timed(self) -> Iterator[tuple[VideoFrame, float]]:
        """Yield each frame with its media time, as it arrives. Skipped frames are counted in `timing`."""
        container = self._packets.container
        # Motion JPEG has no timestamps; FFmpeg invents them.
        has_timestamps = container.format.name not in MOTION_JPEG
        clock = MediaClock.of(0, self._packets.stream.time_base if has_timestamps else None)
        in_pieces = container.format.name == "hls"
        for frame in self._decode():
            stamped_s = None if frame.pts is None or clock is None else clock.media_s(frame.pts)
            if in_pieces and self._is_seen(stamped_s):
                self._timing.dropped["already_seen"] += 1
                continue
            self.timestamp_s = stamped_s
            if stamped_s is not None and self._packets.times is not None:
                self._packets.times.note_frame(stamped_s)
            media_s = self._timing.media_s(
                stamped_s,
                self._packets.flow.arrived_at_s,
                comes_in_pieces=in_pieces,
                was_awaited=self._packets.flow.awaited_s > AWAITED_S,
            )
            if media_s is not None:
                yield frame, media_s

    def _is_seen(self, stamped_s: float | None) -> bool:
        """Return whether the previous connection already read a frame of a playlist."""
        if stamped_s is None or self._seen_until_s is None:
            return False
        if self._packets.flow.arrived_at_s - self._opened_at_s > LISTED_WITHIN_S:
            return False
        return self._seen_until_s - LISTED_S < stamped_s <= self._seen_until_s + SAME_TIME_S

    def _decode(self) -> Iterator[VideoFrame]:
        """Yield each frame right after its packet arrived."""
        yield from self._packets.first_frames
        for packet in chain(self._packets.packets, [None]):
            if self._timing.waits_for_keyframe and packet is not None:
                # FFmpeg marks no packet of VP9 over RTP as a keyframe.
                if not packet.is_keyframe and self._packets.has_keyframes:
                    self._timing.dropped["decoder_behind"] += 1
                    if self._quiet is not None:
                        self._quiet.skip()
                    continue
                self._timing.waits_for_keyframe = False
            damaged = self._packets.decoder.damaged
            yield from self._frames_of(packet)
            if (
                self._packets.decoder.damaged > damaged
                and time.monotonic() - self._packets.flow.decoded_at_s > UNDECODABLE_S
            ):
                raise VideoError("source_unreachable", UNDECODABLE)

    def _frames_of(self, packet: "Packet[Any] | None") -> list[VideoFrame]:
        """Return the frames of a packet, or those that the decoder holds back at the end."""
        if self._quiet is None or packet is None:
            return self._packets.decoder.decode(packet)
        return self._quiet.decode(packet)
