"""What is known of a session's stream: the detector's state and the start decoder, kept together and in step."""

from dataclasses import dataclass
from typing import Self

from model.starts import ActionEnd, ActionStart, StartDecoder
from model.state import StateInvalid
from service.decoder_process import DecodedFrame
from service.engine import Engine, EngineStream
from service.store.base import SessionRecord
from service.store.checkpoint import Checkpoint, Remembered

# A hole in the stream longer than this ends what is open, and detection starts anew behind it.
GAP_S = 2.0


@dataclass(frozen=True)
class Seen:
    """What one frame brought. With a gap before it, `ended_by_gap` is what the gap ended.

    `scores` in [0, 1] belong to the session's labels, in their order.
    """

    scores: list[float]
    decided: list[ActionStart | ActionEnd]
    queue_s: float
    infer_s: float
    gap_s: float | None = None
    ended_by_gap: tuple[ActionEnd, ...] = ()


class Detection:
    """Takes a session's frames in order; can be saved after any frame and goes on from there."""

    def __init__(self, engine: Engine, record: SessionRecord) -> None:
        config = engine.config(record.model)
        self._engine = engine
        self._model = record.model
        self._live = record.pace == "realtime" or (record.video is not None and record.video.live)
        self._interrupted = False
        self._labels = config.labels
        self._columns = [config.labels.index(label) for label in record.labels]
        self._rules = {label: rule for label, rule in config.start_rules.items() if label in record.labels}
        self._starts = StartDecoder(self._labels, self._rules)
        self._stream: EngineStream | None = None
        self.position_s: float | None = None
        """Of the newest frame that counts."""
        self.detector_s: float | None = None
        """Of the newest frame that the detector has seen; frames from here to `position_s` were told before."""
        self.frames = 0

    @classmethod
    async def begin(cls, engine: Engine, record: SessionRecord, after: Checkpoint | None = None) -> Self:
        """Nothing seen yet; or nothing that is known of what was seen, where a checkpoint is `after`."""
        detection = cls(engine, record)
        if after is not None:
            detection.position_s = detection.detector_s = after.position_s
            detection.frames = after.frames
        detection._stream = await engine.open_stream(record.model, live=detection._live)
        return detection

    @classmethod
    async def resume(cls, engine: Engine, record: SessionRecord, saved: Checkpoint) -> Self:
        """Go on from a checkpoint, with the frames behind `detector_s`. Raises StateInvalid when it is of other
        weights, labels or rules.
        """
        detection = cls(engine, record)
        detection.position_s, detection.frames = saved.position_s, saved.frames
        state: bytes | None = None
        match saved.detector:
            case Remembered(state=b""):
                detection.detector_s, detection._interrupted = saved.position_s, True
            case Remembered(position_s, state):
                detection.detector_s = position_s
        try:
            detection._starts = StartDecoder.restore(detection._labels, detection._rules, saved.starts)
        except ValueError as error:
            raise StateInvalid(str(error)) from error
        detection._stream = await engine.open_stream(record.model, live=detection._live, saved=state)
        return detection

    def found_live(self) -> None:
        """The source has turned out to be live: its frames go before those of files."""
        self._live = True
        if self._stream is not None:
            self._stream.live = True

    def interrupt(self) -> None:
        """The source was away: however short that was, detection starts anew with the next frame."""
        self._interrupted = True

    async def push(self, frame: DecodedFrame) -> Seen | None:
        """Analyse the next frame. None for one that was told before and that the detector had to see again."""
        assert self._stream is not None
        was_told = self.position_s is not None and frame.pts_s <= self.position_s
        gap_s: float | None = None
        ended_by_gap: tuple[ActionEnd, ...] = ()
        if self.detector_s is not None and self._is_gap(frame, self.detector_s):
            gap_s = frame.pts_s - self.detector_s
            ended_by_gap = () if was_told else tuple(self._starts.gap(frame.pts_s))
            self.close()
            self._stream = await self._engine.open_stream(self._model, live=self._live)
        self._interrupted = False
        step = await self._engine.push(self._stream, frame.image)
        self.detector_s = frame.pts_s
        if was_told:
            return None
        scores = [float(score) for score in step.scores]
        self.position_s, self.frames = frame.pts_s, self.frames + 1
        decided = self._starts.push(frame.pts_s, scores)
        reported = [scores[column] for column in self._columns]
        return Seen(reported, decided, step.queue_s, step.infer_s, gap_s, ended_by_gap)

    def _is_gap(self, frame: DecodedFrame, last_s: float) -> bool:
        return self._interrupted or frame.is_new_timeline or frame.pts_s - last_s > GAP_S

    def finish(self) -> list[ActionEnd]:
        """The stream is over: what ends with it."""
        return [] if self.position_s is None else self._starts.finish(self.position_s)

    async def remembered(self) -> Remembered | None:
        """The detector's state, about a megabyte; None before the first frame."""
        if self.detector_s is None or self._stream is None:
            return None
        return Remembered(self.detector_s, await self._engine.save(self._stream))

    def checkpoint(self, detector: Remembered | None) -> Checkpoint | None:
        """Everything that `resume` needs, with that state or the one committed before; None before the first frame."""
        if self.position_s is None:
            return None
        return Checkpoint(self.position_s, self._starts.snapshot(), self.frames, detector)

    def close(self) -> None:
        """Free its place in the engine. Idempotent."""
        if self._stream is not None:
            self._engine.close_stream(self._stream)
