"""A decoder sends the frames of a still scene together, and everything else at once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest

from model.video.frame import Frame
from model.video.live_clock import LiveClock
from model.video.live_timing import LiveTiming
from model.video.quiet_gate import Images
from service.decoder import protocol
from service.decoder.newest import LONGEST_HOLD_S, STILL_AFTER_S, NewestFrame
from service.decoder.protocol import FRAME_COUNT, FRAME_HEADER, HEADER, Input, Output

RATE_HZ = 10
STEP_S = 1 / RATE_HZ
ROOM, PERSON = (np.zeros((8, 8, 3), np.uint8),), (np.ones((8, 8, 3), np.uint8),)


@dataclass(frozen=True)
class Sent:
    """One message: the media times of its frames, and the pixels of the last one."""

    pts_s: list[float]
    pixels: bytes


class Parent:
    """The parent's ends of both pipes, and a camera at 10 frames per second."""

    def __init__(self, orders_fd: int, messages_fd: int, newest: NewestFrame) -> None:
        self._orders_fd, self._messages_fd, self._newest = orders_fd, messages_fd, newest
        self._frames = 0

    def order(self, order: bytes) -> None:
        os.write(self._orders_fd, order)

    def show(self, images: Images, count: int = 1, *, requests: bool = True) -> list[Sent]:
        """Show frames; returns the messages. Each answer is followed by the next request, if any are made."""
        sent: list[Sent] = []
        for _ in range(count):
            self._newest.put(Frame(images, self._frames * STEP_S), None, 0.0)
            self._frames += 1
            if requests:
                self.order(protocol.REQUEST_FRAME)
            self._newest.send_if_requested()
            sent += self._messages()
        return sent

    def _messages(self) -> Iterator[Sent]:
        try:
            data = os.read(self._messages_fd, 65536)
        except BlockingIOError:
            return
        while data:
            kind, length = HEADER.unpack_from(data)
            payload, data = data[HEADER.size : HEADER.size + length], data[HEADER.size + length :]
            if kind != protocol.FRAME:
                continue
            (count,) = FRAME_COUNT.unpack_from(payload)
            end = FRAME_COUNT.size + count * FRAME_HEADER.size
            headers = FRAME_HEADER.iter_unpack(payload[FRAME_COUNT.size : end])
            yield Sent([round(header[0], 3) for header in headers], payload[end:])


@contextmanager
def camera() -> Iterator[Parent]:
    order_fds, message_fds = os.pipe(), os.pipe()
    os.set_blocking(message_fds[0], False)
    try:
        with os.fdopen(message_fds[1], "wb") as pipe:
            newest = NewestFrame(Input(order_fds[0]), Output(pipe), LiveTiming(LiveClock(None, None)))
            yield Parent(order_fds[1], message_fds[0], newest)
    finally:
        for fd in (*order_fds, message_fds[0]):
            os.close(fd)


def settle(parent: Parent) -> list[Sent]:
    return parent.show(ROOM, 1 + round(STILL_AFTER_S * RATE_HZ))


def test_frames_of_a_scene_that_has_been_still_for_a_while_are_sent_six_at_a_time() -> None:
    with camera() as parent:
        assert [len(sent.pts_s) for sent in settle(parent)] == [1] * 21
        sent = parent.show(ROOM, 12)
    assert [each.pts_s for each in sent] == [[2.1, 2.2, 2.3, 2.4, 2.5, 2.6], [2.7, 2.8, 2.9, 3.0, 3.1, 3.2]]
    assert all(each.pixels == b"" for each in sent)


def test_a_frame_that_shows_something_new_is_sent_at_once_with_those_held_before_it() -> None:
    with camera() as parent:
        settle(parent)
        assert parent.show(ROOM, 2) == []
        assert parent.show(PERSON) == [Sent([2.1, 2.2, 2.3], PERSON[0].tobytes())]
        assert [sent.pts_s for sent in parent.show(PERSON, 2)] == [[2.4], [2.5]]


def test_nothing_is_held_while_someone_is_watching() -> None:
    with camera() as parent:
        settle(parent)
        parent.order(protocol.WATCH)
        parent.show(ROOM, 3)
        assert [sent.pts_s for sent in parent.show(ROOM, 3)] == [[2.4], [2.5], [2.6]]


@pytest.mark.parametrize("images", [ROOM, PERSON])
def test_a_parent_that_is_too_slow_loses_the_oldest_held_frames(images: Images) -> None:
    with camera() as parent:
        settle(parent)
        assert parent.show(ROOM, 30, requests=False) == []
        (sent,) = parent.show(images)
    assert sent.pts_s[-1] == 5.1
    assert sent.pts_s[-1] - sent.pts_s[0] <= LONGEST_HOLD_S + STEP_S
