"""Turns one session's frames into decisions: detector states and start decoders, saved and restored together."""

import asyncio
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from model.compiled.state import StateError
from model.config import StartRule
from model.gaps import GapRule
from model.thresholds import ActionEnd, ActionStart, StartDecoder
from service.decoder.process import DecodedFrame
from service.session.batching import EngineStream, Step
from service.session.engine import Engine
from service.session.regions import region_names
from service.store.records import DetectorSnapshot, ResumePoint, SessionRecord


@dataclass(frozen=True)
class Decided:
    """An action start or end, and the name of the region in which it was found; None without regions."""

    region: str | None
    action: ActionStart | ActionEnd


@dataclass(frozen=True)
class FrameResult:
    """The results of a frame. If a gap precedes it, `ended_by_gap` are the actions that the gap ended.

    `scores` in [0, 1] are those of `SessionRecord.score_labels`, in their order, of one region after the other.
    `queue_s` and `infer_s` are those of the slowest region.
    """

    frame: DecodedFrame
    scores: list[float]
    decided: list[Decided]
    queue_s: float
    infer_s: float
    gap_s: float | None = None
    ended_by_gap: tuple[Decided, ...] = ()


class Detection:
    """Analyses a session's frames in order; can be saved after any frame and resumed from there.

    Each region is a stream of the detector with its own starts; without regions, the whole frame is one.
    """

    def __init__(self, engine: Engine, record: SessionRecord) -> None:
        self._engine = engine
        self._live = record.pace == "realtime" or (record.video is not None and record.video.live)
        self._interrupted = False
        self._gaps = GapRule()
        self._regions = region_names(record)
        self._use_model(record)
        self._streams: list[EngineStream] = []
        self.position_s: float | None = None
        """Media time of the newest frame whose events were published."""
        self.detector_s: float | None = None
        """Media time of the newest frame that the detector has seen; from here to `position_s`, frames are replayed."""
        self.frames = 0

    def _use_model(self, record: SessionRecord) -> None:
        self.model_key = record.model_key
        # Older versions of configured models also read the state.
        self._state_tag = f"{self.model_key}\n".encode() if record.is_version_pinned else b""
        config = self._engine.config(self.model_key)
        self._labels, self._default_rules = config.labels, config.start_rules
        self._columns = self._columns_of(record)
        self._starts = [StartDecoder(self._labels, self._rules_of(record)) for _ in self._regions]

    @classmethod
    async def begin(cls, engine: Engine, record: SessionRecord, after: ResumePoint | None = None) -> Self:
        """Start in the initial state; after a resume point that cannot be restored, at its position."""
        detection = cls(engine, record)
        if after is not None:
            detection.position_s = detection.detector_s = after.position_s
            detection.frames = after.frames
        await detection._open_streams()
        return detection

    @classmethod
    async def resume(cls, engine: Engine, record: SessionRecord, saved: ResumePoint) -> Self:
        """Continue from a resume point, with the frames after `detector_s`. Raises StateError if it was made with other
        weights, labels or regions. Its rules apply until `change`.
        """
        detection = cls(engine, record)
        detection.position_s, detection.frames = saved.position_s, saved.frames
        # Another worker ran the session, so its frame interval is not known here.
        detection._gaps.add(0.0)
        state: bytes | None = None
        match saved.detector:
            case DetectorSnapshot(state=b""):
                detection.detector_s, detection._interrupted = saved.position_s, True
            case DetectorSnapshot(position_s, tagged):
                if not tagged.startswith(detection._state_tag):
                    raise StateError("another version of the model saved the state")
                detection.detector_s, state = position_s, tagged.removeprefix(detection._state_tag)
        detection._restore_starts(saved.starts)
        await detection._open_streams(None if state is None else _unpacked(state, len(detection._regions)))
        return detection

    @property
    def rules(self) -> Mapping[str, StartRule]:
        """The rules that decide the next frame."""
        return self._starts[0].rules

    def change(self, record: SessionRecord) -> list[Decided]:
        """Use the record's labels and rules from the next frame on; returns the actions that the change ended."""
        self._columns = self._columns_of(record)
        rules = self._rules_of(record)
        return [
            Decided(region, end)
            for region, starts in zip(self._regions, self._starts, strict=True)
            for end in starts.change(rules)
        ]

    async def switch(self, record: SessionRecord) -> list[Decided]:
        """Analyse with the record's model, a different one, from the next frame on; returns the actions that the change
        ended.

        The new model begins in its initial state and settles as at the start of a stream.
        """
        ended = self.finish()
        self.close()
        self._use_model(record)
        await self._open_streams()
        return ended

    def _columns_of(self, record: SessionRecord) -> list[int | None]:
        """The position in the model of each label whose scores are kept; None for a label that only an earlier version
        had.
        """
        return [self._labels.index(label) if label in self._labels else None for label in record.score_labels]

    def _rules_of(self, record: SessionRecord) -> dict[str, StartRule]:
        """Raises ValueError for a label that the model lacks: it would never be reported."""
        if unknown := set(record.labels) - set(self._labels):
            raise ValueError(f"the model {self.model_key} has no label {min(unknown)!r}")
        own = {label: rule.as_start_rule() for label, rule in record.rules.items()}
        return {label: rule for label, rule in {**self._default_rules, **own}.items() if label in record.labels}

    def prioritise(self) -> None:
        """Analyse its frames before those of files, because the source has turned out to be live."""
        self._live = True
        for stream in self._streams:
            stream.live = True

    def interrupt(self) -> None:
        """Restart detection with the next frame, because the source was unavailable, however briefly."""
        self._interrupted = True

    async def push(self, *frames: DecodedFrame) -> list[FrameResult]:
        """Analyse the next frames, between which there is no gap. There is no result for replayed ones, whose events
        were already published.
        """
        frame = frames[0]
        gap_s: float | None = None
        ended_by_gap: tuple[Decided, ...] = ()
        if self.detector_s is not None and self._is_gap(frame, self.detector_s):
            gap_s = frame.pts_s - self.detector_s
            ended_by_gap = () if self._is_replayed(frame) else tuple(self._end_all(gap_until_s=frame.pts_s))
            self.close()
            await self._open_streams()
        steps_FR = await self._step(frames)
        results: list[FrameResult] = []
        for each, steps_R in zip(frames, steps_FR, strict=True):
            if self.detector_s is not None and not (self._interrupted or each.is_new_timeline):
                self._gaps.add(each.pts_s - self.detector_s)
            self._interrupted, self.detector_s = False, each.pts_s
            if not self._is_replayed(each):
                results.append(self._decide(each, steps_R, gap_s, ended_by_gap))
            gap_s, ended_by_gap = None, ()
        return results

    def _is_replayed(self, frame: DecodedFrame) -> bool:
        return self.position_s is not None and frame.pts_s <= self.position_s

    def _decide(
        self, frame: DecodedFrame, steps_R: Sequence[Step], gap_s: float | None, ended_by_gap: tuple[Decided, ...]
    ) -> FrameResult:
        """The result of a frame, from the steps of all regions."""
        self.position_s, self.frames = frame.pts_s, self.frames + 1
        reported: list[float] = []
        decided: list[Decided] = []
        for region, starts, step in zip(self._regions, self._starts, steps_R, strict=True):
            scores = step.scores.tolist()
            reported += [0.0 if column is None else scores[column] for column in self._columns]
            decided += [Decided(region, action) for action in starts.push(frame.pts_s, scores)]
        slowest = max(steps_R, key=lambda step: step.queue_s + step.infer_s)
        return FrameResult(frame, reported, decided, slowest.queue_s, slowest.infer_s, gap_s, ended_by_gap)

    def _is_gap(self, frame: DecodedFrame, last_s: float) -> bool:
        return self._interrupted or frame.is_new_timeline or self._gaps.is_gap(frame.pts_s - last_s)

    def finish(self) -> list[Decided]:
        """End the actions in progress, at the end of the stream."""
        return [] if self.position_s is None else self._end_all()

    async def detector_snapshot(self) -> DetectorSnapshot | None:
        """The detector states, about half a megabyte for each region; None before the first frame."""
        if self.detector_s is None or not self._streams:
            return None
        position_s = self.detector_s
        packed = _packed([await self._engine.save(stream) for stream in self._streams])
        return DetectorSnapshot(position_s, self._state_tag + packed)

    def resume_point(self, detector: DetectorSnapshot | None) -> ResumePoint | None:
        """The input of `resume`, with that detector state or the last committed one; None before the first frame."""
        if self.position_s is None:
            return None
        starts = [each.snapshot() for each in self._starts]
        saved: dict[str, object] = {"regions": dict(zip(self._regions, starts, strict=True))}
        if self._regions == (None,):
            saved = starts[0]
        return ResumePoint(self.position_s, saved, self.frames, detector)

    def close(self) -> None:
        """Free its batch slots. Idempotent."""
        for stream in self._streams:
            self._engine.close_stream(stream)

    async def _open_streams(self, states: Sequence[bytes] | None = None) -> None:
        self._streams = []
        for number in range(len(self._regions)):
            saved = None if states is None else states[number]
            self._streams.append(await self._engine.open_stream(self.model_key, live=self._live, saved=saved))

    async def _step(self, frames: Sequence[DecodedFrame]) -> list[tuple[Step, ...]]:
        """Advance the streams of all regions, which the engine batches; returns the steps of each frame."""
        unchanged = [frame.is_unchanged for frame in frames]
        pushes = [
            self._engine.push(stream, images, unchanged)
            for stream, *images in zip(self._streams, *(frame.images for frame in frames), strict=True)
        ]
        if len(pushes) == 1:
            return list(zip(await pushes[0], strict=True))
        outcomes = await asyncio.gather(*pushes, return_exceptions=True)
        steps_RF: list[list[Step]] = []
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            steps_RF.append(outcome)
        return list(zip(*steps_RF, strict=True))

    def _end_all(self, gap_until_s: float | None = None) -> list[Decided]:
        """End the actions in progress: at a gap that lasts until that media time, or at the end of the stream."""
        decided: list[Decided] = []
        for region, starts in zip(self._regions, self._starts, strict=True):
            ends = starts.finish(self.position_s or 0.0) if gap_until_s is None else starts.gap(gap_until_s)
            decided += [Decided(region, end) for end in ends]
        return decided

    def _restore_starts(self, saved: dict[str, object]) -> None:
        """Raises StateError."""
        of_regions = saved.get("regions") if self._regions != (None,) else {None: saved}
        if not isinstance(of_regions, dict) or set(of_regions) != set(self._regions):
            raise StateError("the resume point was taken with other regions")
        try:
            self._starts = [
                StartDecoder.restore(self._labels, self.rules, of_regions[region]) for region in self._regions
            ]
        except ValueError as error:
            raise StateError(str(error)) from error


def _packed(states: Sequence[bytes]) -> bytes:
    """A single state unchanged, as older versions wrote it; several states preceded by their lengths."""
    if len(states) == 1:
        return states[0]
    return struct.pack(f"<{len(states)}Q", *map(len, states)) + b"".join(states)


def _unpacked(packed: bytes, count: int) -> list[bytes]:
    """The inverse of `_packed`, for so many states. Raises StateError."""
    if count == 1:
        return [packed]
    begin = struct.calcsize(f"<{count}Q")
    lengths = struct.unpack_from(f"<{count}Q", packed) if len(packed) >= begin else ()
    if begin + sum(lengths) != len(packed):
        raise StateError("the saved stream state is not one of these regions")
    states: list[bytes] = []
    for length in lengths:
        states.append(packed[begin : begin + length])
        begin += length
    return states
