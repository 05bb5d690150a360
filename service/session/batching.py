"""When the engine starts its next model call, and which frames that call takes. Pure: the time is an argument."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.detector import Stream

# How long a frame waits for frames of other fast sessions, which are about to arrive.
GATHER_S = 0.003
MAX_BATCH = 8
# After a call the engine stays idle for as long as the call took, at most this long, unless a full batch waits. The
# busier it is, the more frames of live sessions it gathers: a step in a batch of 8 costs a third of a single one.
MAX_IDLE_S = 0.008
# While live sessions run, each call takes only this many frames of fast ones, so that a live frame waits for at most
# one call.
MAX_FAST_PER_LIVE_BATCH = 2
# Brief frames, of scenes that have been still for a while, take little time and are not urgent: they wait for others.
BRIEF_GATHER_S = 0.1


@dataclass(frozen=True)
class Step:
    """One frame's scores in [0, 1], one per label of the model, and how many seconds it waited and the call took."""

    scores: NDArray[np.float32]
    queue_s: float
    infer_s: float


@dataclass(eq=False)
class EngineStream:
    """One session's batch slot in the engine. Opaque: made by `Engine.open_stream`."""

    model: str
    live: bool
    stream: Stream
    waiting: "FrameRequest | None" = None


@dataclass(eq=False)
class FrameRequest:
    """The next frames of a stream, usually one, which wait for their scores since `requested_s`."""

    stream: EngineStream
    images: Sequence[NDArray[np.uint8]]
    requested_s: float
    outcome: "asyncio.Future[list[Step]]" = field(repr=False)
    unchanged: Sequence[bool] = (False,)
    """Of each image, whether it is that of the frame before it."""

    @property
    def is_brief(self) -> bool:
        """Whether only the end of the network must be computed."""
        return all(self.unchanged) and self.stream.stream.has_settled


class BatchWindow:
    """The streams of an engine and their waiting frames, at most one per stream."""

    def __init__(self) -> None:
        self.streams: set[EngineStream] = set()
        self.requests: list[FrameRequest] = []
        self._idle_until_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """How long to wait for more frames before the next call; 0 when it should start now."""
        if not self.requests:
            return 0.0
        if all(request.is_brief for request in self.requests):
            is_full = len(self.requests) >= len(self.streams)
            return 0.0 if is_full else max(0.0, self.requests[0].requested_s + BRIEF_GATHER_S - now_s)
        if len(self.requests) >= min(MAX_BATCH, len(self.streams)):
            return 0.0
        fast_streams = sum(not stream.live for stream in self.streams)
        fast_waiting = sum(not request.stream.live for request in self.requests)
        until_s = self._idle_until_s if fast_waiting == 0 else 0.0
        if fast_waiting < fast_streams:
            until_s = max(until_s, self.requests[0].requested_s + GATHER_S)
        return max(0.0, until_s - now_s)

    def take(self) -> list[FrameRequest]:
        """The next batch, all of one model: live frames, then fast ones, each oldest first, then all brief ones."""
        if not self.requests:
            return []
        by_urgency = sorted(self.requests, key=lambda request: not request.stream.live)
        of_model = [each for each in by_urgency if each.stream.model == by_urgency[0].stream.model]
        whole = [request for request in of_model if not request.is_brief]
        if any(stream.live for stream in self.streams):
            live = sum(request.stream.live for request in whole)
            whole = whole[: live + MAX_FAST_PER_LIVE_BATCH]
        batch = whole[:MAX_BATCH] + [request for request in of_model if request.is_brief]
        self.requests = [request for request in self.requests if request not in batch]
        return batch

    def called(self, began_s: float, ended_s: float) -> None:
        """Note that a call took this long."""
        self._idle_until_s = ended_s + min(ended_s - began_s, MAX_IDLE_S)
