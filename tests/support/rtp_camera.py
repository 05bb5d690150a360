"""An RTSP camera over TCP that sends exactly the RTP packets that a test gives it, when the test gives them."""

import re
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

import av

from tests.support.made_videos import numbered_image

CLOCK_HZ, RATE_HZ = 90_000, 10
WIDTH, HEIGHT = 128, 96
VIDEO_TYPE, SOUND_TYPE, SENDER_REPORT = 96, 0, 200
VIDEO_CHANNEL, VIDEO_CONTROL_CHANNEL, SOUND_CHANNEL = 0, 1, 2
MTU_BYTES = 200
NTP_EPOCH_S = 2_208_988_800
NAL_ENCODERS = ("libx264", "libx265")
NAMES = {"libx264": "H264", "libx265": "H265", "mpeg4": "MP4V-ES", "libvpx": "VP8", "libvpx-vp9": "VP9"}
# The payload descriptors of a whole frame in one packet (RFC 7741 and RFC 9628); of VP9, before a keyframe and others.
VP8_WHOLE, VP9_KEYFRAME, VP9_OTHER = b"\x10", b"\x0c", b"\x4c"
SOUND = "m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=control:sound\r\n"


def encoded(encoder: str, count: int, options: dict[str, str]) -> list[list[bytes]]:
    """Encode numbered frames, each as its NAL units with the parameters before it; of other codecs as a whole."""
    context: Any = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base, context.framerate, context.options = Fraction(1, RATE_HZ), RATE_HZ, options
    frames = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(numbered_image(number, WIDTH, HEIGHT), format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, RATE_HZ)
        frames += [bytes(packet) for packet in context.encode(frame)]
    return [[*re.split(b"\0*\0\0\1", frame)[1:]] if encoder in NAL_ENCODERS else [frame] for frame in frames]


def fragments(unit: bytes, encoder: str) -> list[bytes]:
    """Split a NAL unit into payloads: itself if it is small, or fragmentation units (RFC 6184 and RFC 7798)."""
    if encoder == "libvpx":
        return [VP8_WHOLE + unit]
    if encoder == "libvpx-vp9":
        # A bit of the first byte of a frame, in profile 0, says that it refers to others.
        return [(VP9_OTHER if unit[0] & 4 else VP9_KEYFRAME) + unit]
    if len(unit) <= MTU_BYTES or encoder == "mpeg4":
        return [unit]
    if encoder == "libx264":
        head, kind, body = bytes([unit[0] & 0xE0 | 28]), unit[0] & 31, unit[1:]
    else:
        head, kind, body = bytes([unit[0] & 0x81 | 49 << 1, unit[1]]), unit[0] >> 1 & 63, unit[2:]
    parts = [body[at : at + MTU_BYTES] for at in range(0, len(body), MTU_BYTES)]
    last = len(parts) - 1
    return [head + bytes([kind | 0x80 * (i == 0) | 0x40 * (i == last)]) + part for i, part in enumerate(parts)]


def aggregated(units: Sequence[bytes]) -> bytes:
    """Put several small NAL units of H.264 into one payload (STAP-A of RFC 6184)."""
    return bytes([24]) + b"".join(len(unit).to_bytes(2) + unit for unit in units)


@dataclass
class RtpCamera:
    """A camera and its newest viewer. `stated` is what its description says of its codec's parameters."""

    encoder: str
    stated: str = ""
    has_sound: bool = False
    port: int = 0
    viewers: int = 0

    _sequence: dict[int, int] = field(default_factory=dict)
    _replies: int = 0
    _writer: Any = None

    @property
    def description(self) -> str:
        """The SDP."""
        video = f"m=video 0 RTP/AVP {VIDEO_TYPE}\r\na=rtpmap:{VIDEO_TYPE} {NAMES[self.encoder]}/{CLOCK_HZ}\r\n"
        stated = f"a=fmtp:{VIDEO_TYPE} {self.stated}\r\n" if self.stated else ""
        head = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\n"
        return f"{head}{video}{stated}a=control:video\r\n{SOUND if self.has_sound else ''}"

    def attach(self, writer: Any) -> None:
        """Send what follows to the viewer that has just begun to play."""
        self._writer, self.viewers = writer, self.viewers + 1

    def send(self, payload: bytes, number: int, *, is_marked: bool, channel: int = VIDEO_CHANNEL) -> None:
        """Send a packet of frame `number`."""
        kind, clock_hz = (SOUND_TYPE, 8000) if channel == SOUND_CHANNEL else (VIDEO_TYPE, CLOCK_HZ)
        self._sequence[channel] = self._sequence.get(channel, 0) + 1
        head = bytes([0x80, kind | 0x80 * is_marked]) + self._sequence[channel].to_bytes(2)
        stamp = (number * clock_hz // RATE_HZ).to_bytes(4) + (channel + 1).to_bytes(4)
        self._interleave(channel, head + stamp + payload)

    def report(self, number: int, captured_unix_s: float) -> None:
        """Send the RTCP sender report that frame `number` was captured at a Unix time by the camera's clock."""
        ntp = int((captured_unix_s + NTP_EPOCH_S) * 2**32).to_bytes(8)
        head = bytes([0x80, SENDER_REPORT, 0, 6]) + (VIDEO_CHANNEL + 1).to_bytes(4)
        self._interleave(VIDEO_CONTROL_CHANNEL, head + ntp + (number * CLOCK_HZ // RATE_HZ).to_bytes(4) + bytes(8))

    def reply(self) -> None:
        """Send a reply among the packets, as to a request that keeps the session alive."""
        self._replies += 1
        self._write(b"RTSP/1.0 200 OK\r\nCSeq: %d\r\n\r\n" % (99 + self._replies))

    def _interleave(self, channel: int, packet: bytes) -> None:
        self._write(b"$" + bytes([channel]) + len(packet).to_bytes(2) + packet)

    def _write(self, data: bytes) -> None:
        # A viewer that probes the stream may leave again.
        with suppress(OSError):
            self._writer.write(data)


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        camera = cast(RtpCamera, cast(Any, self.server).camera)
        while line := self._line():
            if line.startswith(b"$"):
                # A receiver report, which may hold line ends: nothing else follows from this viewer before it leaves.
                continue
            method, *_ = line.decode(errors="replace").split()
            headers = {}
            while text := self.rfile.readline().decode(errors="replace").strip():
                name, _, value = text.partition(":")
                headers[name.lower()] = value.strip()
            reply = f"RTSP/1.0 200 OK\r\nCSeq: {headers.get('cseq', 0)}\r\nSession: 1\r\n"
            body = ""
            if method == "DESCRIBE":
                body = camera.description
                reply += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP":
                reply += f"Transport: {headers['transport']}\r\n"
            self.wfile.write(f"{reply}\r\n{body}".encode())
            if method == "PLAY":
                camera.attach(self.wfile)

    def _line(self) -> bytes:
        try:
            return self.rfile.readline()
        except ConnectionError:
            # A viewer that was killed.
            return b""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextmanager
def rtp_camera(encoder: str, *, stated: str = "", has_sound: bool = False) -> Iterator[RtpCamera]:
    """A camera that listens on `port`."""
    camera = RtpCamera(encoder, stated, has_sound)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        cast(Any, server).camera = camera
        camera.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield camera
        finally:
            server.shutdown()
            thread.join()
