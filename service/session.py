"""One session: decoder -> engine -> starts -> log. The main loop of the product."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Literal, TypeVar

import structlog

from model.container import VideoError, VideoInfo
from model.state import StateInvalid
from service.blobs import Blobs
from service.commits import STORE_RETRY_S, Commits
from service.decoder_process import DecodedFrame, DecoderDied, Dropped, Ended, Snapshot
from service.detection import Detection
from service.engine import Engine
from service.errors import NotFound, ServiceError
from service.journal import Journal
from service.opener import SourceOpener
from service.outcome import INTERNAL_FAILURE, STREAM_ENDED, UPLOAD_GONE, Outcome, SourceFailure, failed
from service.push.gate import PushGate
from service.reconnect import STABLE_S
from service.schemas import Video
from service.settings import Settings
from service.snapshots import SnapshotKeeper
from service.sources import SourceForbidden
from service.store.base import LeaseLost, SessionRecord, Store
from service.telemetry import WorkerMetrics

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Session:
    """Runs a claimed session to its end, or until it is told to stop or to hand over.

    Events are committed together with the checkpoint that follows them, so whoever goes on from it loses nothing and
    says nothing twice.
    """

    def __init__(
        self,
        record: SessionRecord,
        store: Store,
        engine: Engine,
        metrics: WorkerMetrics,
        settings: Settings,
        gate: PushGate,
        blobs: Blobs,
    ) -> None:
        self.record = record
        self._store = store
        self._engine = engine
        self._metrics = metrics
        self._settings = settings
        version = engine.version(record.model)
        self._journal = Journal(record.model_copy(update={"model_version": version}), store, metrics)
        self._detection: Detection | None = None
        self._opener = SourceOpener(record, engine.config(record.model), settings, gate, blobs)
        self._blobs = blobs
        self._snapshots = SnapshotKeeper(blobs, record.id)
        self.is_watched = False
        """Whether somebody looks at its pictures."""
        self._halting: Literal["stop", "hand_over"] | None = None
        self._halted = asyncio.Event()
        self._commits = Commits(self._journal, lambda: self._halting == "hand_over", lambda: self._is_passing)

    @property
    def lag_s(self) -> float:
        """How old the newest frame was when its scores were there; 0 for sessions that are not live."""
        return self._journal.lag_s if self.is_in_real_time else 0.0

    @property
    def cost_steps_per_s(self) -> float:
        """Capacity that it takes. What turns out to be live behind a web address takes more than was set aside."""
        sample_hz = self._engine.config(self.record.model).sample_hz
        return max(self.record.cost_steps_per_s, sample_hz if self.is_in_real_time else 0.0)

    @property
    def _is_live(self) -> bool:
        """Whether the source plays on without us; False until it is open."""
        video = self._journal.record.video
        return video is not None and video.live

    @property
    def _is_pushed(self) -> bool:
        return self.record.source.kind == "push"

    @property
    def _is_passing(self) -> bool:
        """Whether what is not read in time is lost: of cameras, and of streams that clients push."""
        return self._is_live or self._is_pushed

    @property
    def is_in_real_time(self) -> bool:
        """Whether its frames come at the source's own speed."""
        return self.record.pace == "realtime" or self._is_live

    def stop(self) -> None:
        """End it as `stopped`, soon. Idempotent."""
        self._halt("stop")

    def hand_over(self) -> None:
        """Leave it to another worker, soon, with everything committed. Idempotent."""
        self._halt("hand_over")

    def _halt(self, how: Literal["stop", "hand_over"]) -> None:
        self._halting = self._halting or how
        self._halted.set()
        self._opener.halt()

    async def run(self) -> None:
        """Analyse the source. Returns when the session has ended, is handed over, or is another worker's by now."""
        try:
            outcome = await self._outcome()
            if self._halting == "hand_over" and outcome is None:
                await self._commits.settle(self._detection)
            else:
                await self._end(outcome or Outcome("stopped"))
        except (LeaseLost, NotFound):
            _log.info("session is another worker's", session=self.record.id)
        except ServiceError as error:
            _log.warning("session handed over from an older checkpoint", session=self.record.id, error=error.detail)
        finally:
            await self._commits.close()
            await self._snapshots.close()
            self._blobs.forget_upload(self.record.id, self.record.token)
            if self._detection is not None:
                self._detection.close()

    async def _outcome(self) -> Outcome | None:
        """How the source ended; None when the session was told to stop or to hand over before."""
        try:
            self._detection = await self._resumed()
            await self._commits.settle(None)
            if self.record.source.kind == "upload":
                await self._patiently(lambda: self._blobs.fetch_upload(self.record.id, self.record.token))
            return await self._follow(self._detection)
        except (LeaseLost, ServiceError):
            raise
        except FileNotFoundError:
            return Outcome("failed", "source_unreachable", UPLOAD_GONE)
        except Exception:
            # A defect of ours, or of a model: it ends this session and no other.
            _log.exception("session failed", session=self.record.id)
            return INTERNAL_FAILURE

    async def _resumed(self) -> Detection:
        """The detection as the last checkpoint left it, or a new one."""
        checkpoint = await self._patiently(lambda: self._store.load_checkpoint(self.record.id))
        if self.record.state == "queued":
            self._journal.state("starting")
        if checkpoint is None:
            self._journal.update(position_s=0.0, frames=0)
            return await Detection.begin(self._engine, self.record)
        self._journal.update(position_s=checkpoint.position_s, frames=checkpoint.frames)
        if self._is_live and self.record.started_at is not None:
            self._opener.resume_live(checkpoint.position_s, self.record.started_at)
        if self._is_pushed and self.record.state == "running":
            self._journal.state("reconnecting")
        try:
            resumed = await Detection.resume(self._engine, self.record, checkpoint)
        except StateInvalid:
            self._journal.gap(checkpoint.position_s, 0.0)
            return await Detection.begin(self._engine, self.record, after=checkpoint)
        if self._is_pushed:
            resumed.interrupt()
        return resumed

    async def _follow(self, detection: Detection) -> Outcome | None:
        """Analyse to the end of the source, through deaths of the decoder and of the connection."""
        failures = 0
        while self._halting is None:
            began_at_s, began_s = detection.position_s, time.monotonic()
            try:
                return await self._analyse(detection)
            except (VideoError, SourceForbidden, DecoderDied) as error:
                if self._halting is not None:
                    break
                was_good = time.monotonic() - began_s >= STABLE_S or not self._is_live
                failures = 1 if was_good and detection.position_s != began_at_s else failures + 1
                delay_s = self._opener.delay_s(
                    error,
                    failures,
                    is_live=self._is_live,
                    has_worked=self._journal.record.started_at is not None,
                    position_s=self._journal.record.position_s,
                )
                if delay_s is None:
                    return failed(error)
                await self._note_retry(error, detection)
            await self._pause(delay_s)
        return None

    async def _analyse(self, detection: Detection) -> Outcome | None:
        """One decoder's life: its frames go to the detector, the scores to the start decoder, the events to the log."""
        async with self._opener.open(detection.detector_s, told_s=detection.position_s) as decoder:
            async for message in decoder.messages(lambda: self.is_watched):
                match message:
                    case DecodedFrame():
                        self._opener.note(message, is_live=self._is_live)
                        if (seen := await detection.push(message)) is not None:
                            self._journal.frame(message, seen)
                        # Nobody knows when a passing source sends the next frame.
                        at_once = self.is_in_real_time or self._is_passing
                        await self._commits.if_due(detection, at_once=at_once)
                    case VideoInfo():
                        await self._opened(message, detection)
                    case Dropped():
                        for reason, count in message.frames.items():
                            self._metrics.dropped.labels(reason).inc(count)
                    case Snapshot():
                        self._snapshots.keep(message.jpeg)
                    case Ended() if self._is_live and not self._is_pushed:
                        raise VideoError("source_unreachable", STREAM_ENDED)
                    case Ended():
                        return Outcome("completed", warnings=message.warnings)
                if self._halting is not None:
                    break
        return None

    async def _opened(self, info: VideoInfo, detection: Detection) -> None:
        self._journal.update(video=Video(**asdict(info)))
        if info.live:
            detection.found_live()
        if self._journal.record.started_at is None:
            self._journal.update(started_at=datetime.now(UTC))
        if self._journal.record.state != "running":
            self._journal.state("running")
        await self._commits.soon(detection)

    async def _note_retry(self, error: SourceFailure, detection: Detection) -> None:
        _log.warning("decoder starts again", session=self.record.id, error=str(error))
        if isinstance(error, DecoderDied):
            self._metrics.decoder_restarts.inc()
            if not self._is_passing:
                return
        self._metrics.reconnects.inc()
        if self._is_passing:
            detection.interrupt()
        if self._journal.record.state != "reconnecting":
            self._journal.state("reconnecting")
            await self._commits.soon(detection)

    async def _end(self, outcome: Outcome) -> None:
        if self._detection is not None:
            self._journal.actions(self._detection.finish())
        self._journal.state(outcome.state, code=outcome.code, detail=outcome.detail)
        self._journal.update(ended_at=datetime.now(UTC), warnings=outcome.warnings)
        await self._commits.settle(None)
        self._metrics.ended.labels(outcome.state, outcome.code or "").inc()

    async def _patiently(self, use_store: Callable[[], Awaitable[T]]) -> T:
        """Use the store; when it is locked or full the session waits, unless another worker is to have it."""
        while True:
            try:
                return await use_store()
            except NotFound:
                raise
            except ServiceError as error:
                if self._halting == "hand_over":
                    raise
                _log.warning("session waits for the store", session=self.record.id, error=error.detail)
            await asyncio.sleep(STORE_RETRY_S)

    async def _pause(self, duration_s: float) -> None:
        """Wait, but not for longer than the session is wanted."""
        try:
            async with asyncio.timeout(duration_s):
                await self._halted.wait()
        except TimeoutError:
            return
