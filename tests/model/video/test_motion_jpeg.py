"""Cameras send motion JPEG over HTTP in parts of many kinds: the images count, not what is written between them."""

import itertools
import threading
from collections.abc import Callable
from fractions import Fraction
from http.server import BaseHTTPRequestHandler

import av
import pytest

from model.video.packets import PacketReader
from tests.support.made_videos import numbered_image
from tests.support.video_server import serve_handler

WIDTH, HEIGHT, INTERVAL_S = 64, 48, 0.02


def jpeg(number: int) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = WIDTH, HEIGHT, "yuvj420p", Fraction(1, 10)
    frame = av.VideoFrame.from_ndarray(numbered_image(number, WIDTH, HEIGHT), format="rgb24")
    [packet] = encoder.encode(frame.reformat(format="yuvj420p"))
    return bytes(packet)


def boundary_after(image: bytes) -> bytes:
    """As ESP32 cameras and Tasmota send it."""
    return b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n--frame\r\n" % (len(image), image)


def other_type_and_bare_line_feeds(image: bytes) -> bytes:
    return b"--frame\nContent-Type: image/jpg\nContent-Length: %d\n\n%s\n" % (len(image), image)


def type_with_a_parameter(image: bytes) -> bytes:
    return b"--frame\r\nContent-Type: image/jpeg; charset=binary\r\n\r\n%s\r\n" % image


def bare_line_feeds_without_length(image: bytes) -> bytes:
    return b"--frame\nContent-Type: image/jpeg\n\n%s\n" % image


class Camera:
    """A server of motion JPEG. It sends `count` images, then nothing until `stop()`."""

    def __init__(self, part: Callable[[bytes], bytes], count: int | None = None) -> None:
        stopped, images = threading.Event(), [jpeg(number) for number in range(3)]

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.send_header("Connection", "close")
                self.end_headers()
                try:
                    for image in itertools.islice(itertools.cycle(images), count):
                        self.wfile.write(part(image))
                        if stopped.wait(INTERVAL_S):
                            return
                except (BrokenPipeError, ConnectionResetError):
                    return
                stopped.wait()

            def log_message(self, *arguments: object) -> None:
                """Keep the tests' output clean."""

        self.handler, self.stop = Handler, stopped.set


@pytest.mark.parametrize(
    ("part", "timeout_s", "count"),
    [
        # The fourth image begins the end of the third. A camera need not send many before it is read.
        (boundary_after, 30.0, 4),
        (other_type_and_bare_line_feeds, 30.0, 4),
        (type_with_a_parameter, 30.0, 4),
        # FFmpeg looks for the end of the first part until the time is over.
        (bare_line_feeds_without_length, 1.0, None),
    ],
)
def test_images_in_unusual_parts_are_a_live_source(
    part: Callable[[bytes], bytes], timeout_s: float, count: int | None
) -> None:
    camera = Camera(part, count)
    with serve_handler(camera.handler) as server:
        try:
            with PacketReader(f"http://{server}/", timeout_s=timeout_s) as packets:
                frames = packets.first_frames + [
                    frame for packet in itertools.islice(packets.packets, 2) for frame in packets.decoder.decode(packet)
                ]
                assert (packets.info.codec, packets.is_live, packets.decoder.damaged) == ("mjpeg", True, 0)
            assert [(frame.width, frame.height) for frame in frames] == 3 * [(WIDTH, HEIGHT)]
        finally:
            camera.stop()
