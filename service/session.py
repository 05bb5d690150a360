"""One session: decoder -> engine -> starts -> log. The main loop of the product."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

import structlog

from model.container import VideoError, VideoInfo
from model.state import StateInvalid
from service.confinement.address_policy import AddressPolicy
from service.decode import DecodeRequest
from service.decoder_process import DecodedFrame, Decoder, DecoderDied, Ended, Snapshot, start_decoder
from service.detection import Detection
from service.engine import Engine
from service.errors import NotFound, ServiceError
from service.journal import Journal
from service.schemas import FailureCode, Video
from service.settings import Settings
from service.sources import SourceForbidden, openable
from service.store.base import Checkpoint, LeaseLost, SessionRecord, Store
from service.telemetry import WorkerMetrics

T = TypeVar("T")

CHECKPOINT_EVERY_S = 5.0
# Events of live sessions are committed at once; all else is gathered for so long.
COMMIT_EVERY_S = 0.5
COMMIT_FAST_EVENTS_EVERY_S = 0.25
STORE_RETRY_S = 0.5
MAX_FAILURES_WITHOUT_PROGRESS = 3
FIRST_RETRY_S = 0.25
PASSING_CODES = frozenset({"source_unreachable", "source_timeout"})
DECODER_DIED = "The decoder ended several times at the same place. The video may be damaged there; send it re-encoded."
INTERNAL = "The server failed in an unexpected way; its log says more. Try again, and report it if it happens again."

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a session ended."""

    state: Literal["completed", "stopped", "failed"]
    code: FailureCode | None = None
    detail: str | None = None
    warnings: tuple[str, ...] = ()


class Session:
    """Runs a claimed session to its end, or until it is told to stop or to hand over.

    Events are committed together with the checkpoint that follows them, so whoever goes on from it loses nothing and
    says nothing twice.
    """

    def __init__(
        self, record: SessionRecord, store: Store, engine: Engine, metrics: WorkerMetrics, settings: Settings
    ) -> None:
        self.record = record
        self._store = store
        self._engine = engine
        self._metrics = metrics
        self._settings = settings
        version = engine.version(record.model)
        self._journal = Journal(record.model_copy(update={"model_version": version}), store, metrics)
        self._detection: Detection | None = None
        self._decoder: Decoder | None = None
        self._halting: Literal["stop", "hand_over"] | None = None
        self._halted = asyncio.Event()
        self._committed_s = self._checkpointed_s = time.monotonic()

    @property
    def lag_s(self) -> float:
        """How old the newest frame was when its scores were there; 0 for sessions that are not live."""
        return self._journal.lag_s if self.record.pace == "realtime" else 0.0

    def stop(self) -> None:
        """End it as `stopped`, soon. Idempotent."""
        self._halt("stop")

    def hand_over(self) -> None:
        """Leave it to another worker, soon, with everything committed. Idempotent."""
        self._halt("hand_over")

    def _halt(self, how: Literal["stop", "hand_over"]) -> None:
        self._halting = self._halting or how
        self._halted.set()
        if self._decoder is not None:
            # Whatever the main loop waits for comes from the decoder: it sees its death at once.
            self._decoder.kill()

    async def run(self) -> None:
        """Analyse the source. Returns when the session has ended, is handed over, or is another worker's by now."""
        try:
            outcome = await self._outcome()
            if self._halting == "hand_over" and outcome is None:
                await self._commit(with_checkpoint=True)
            else:
                await self._end(outcome or Outcome("stopped"))
        except (LeaseLost, NotFound):
            _log.info("session is another worker's", session=self.record.id)
        except ServiceError as error:
            _log.warning("session handed over from an older checkpoint", session=self.record.id, error=error.detail)
        finally:
            if self._detection is not None:
                self._detection.close()

    async def _outcome(self) -> Outcome | None:
        """How the source ended; None when the session was told to stop or to hand over before."""
        try:
            self._detection = await self._resumed()
            await self._commit()
            return await self._follow(self._detection)
        except (LeaseLost, ServiceError):
            raise
        except Exception:
            _log.exception("session failed", session=self.record.id)
            return Outcome("failed", "internal", INTERNAL)

    async def _resumed(self) -> Detection:
        """The detection as the last checkpoint left it, or a new one."""
        checkpoint = await self._patiently(lambda: self._store.load_checkpoint(self.record.id))
        if self.record.state == "queued":
            self._journal.state("starting")
        if checkpoint is None:
            self._journal.update(position_s=0.0, frames=0)
            return await Detection.begin(self._engine, self.record)
        self._journal.update(position_s=checkpoint.position_s, frames=checkpoint.frames)
        try:
            return await Detection.resume(self._engine, self.record, checkpoint)
        except StateInvalid:
            self._journal.gap(checkpoint.position_s, 0.0)
            detection = await Detection.begin(self._engine, self.record)
            detection.position_s, detection.frames = checkpoint.position_s, checkpoint.frames
            return detection

    async def _follow(self, detection: Detection) -> Outcome | None:
        """Analyse to the end of the source, through deaths of the decoder and of the connection."""
        failures = 0
        while self._halting is None:
            began_at_s = detection.position_s
            try:
                return await self._analyse(detection)
            except (VideoError, SourceForbidden, DecoderDied) as error:
                if self._halting is not None:
                    break
                failures = failures + 1 if detection.position_s == began_at_s else 1
                if failures >= MAX_FAILURES_WITHOUT_PROGRESS or not self._may_pass(error):
                    return _failed(error)
                await self._note_retry(error)
            await self._pause(FIRST_RETRY_S * 4 ** (failures - 1))
        return None

    async def _analyse(self, detection: Detection) -> Outcome | None:
        """One decoder's life: its frames go to the detector, the scores to the start decoder, the events to the log."""
        policy = self._settings.address_policy
        async with start_decoder(self._request(detection.position_s, policy), policy) as self._decoder:
            if self._halting is not None:
                self._decoder.kill()
            async for message in self._decoder.messages():
                match message:
                    case DecodedFrame():
                        self._journal.frame(message, await detection.push(message))
                        await self._commit_if_due()
                    case VideoInfo():
                        await self._opened(message)
                    case Snapshot():
                        await self._keep_snapshot(message)
                    case Ended():
                        return Outcome("completed", warnings=message.warnings)
                if self._halting is not None:
                    break
        return None

    def _request(self, after_s: float | None, policy: AddressPolicy) -> DecodeRequest:
        config = self._engine.config(self.record.model)
        source = openable(self.record.source, self._settings.uploads_dir / self.record.id, policy)
        return DecodeRequest(
            address=source.address,
            options=source.options,
            sample_hz=config.sample_hz,
            size=config.image_size,
            pace=self.record.pace,
            after_s=after_s,
            snapshot_hz=self._settings.snapshot_hz,
            timeout_s=self._settings.source_timeout_s,
            max_bytes=self._settings.decoder_max_bytes,
            max_cpu_s=self._settings.decoder_max_cpu_s,
        )

    async def _opened(self, info: VideoInfo) -> None:
        self._journal.update(video=Video(**asdict(info)))
        if self._journal.record.started_at is None:
            self._journal.update(started_at=datetime.now(UTC))
        if self._journal.record.state != "running":
            self._journal.state("running")
        await self._commit(with_checkpoint=True)

    async def _keep_snapshot(self, snapshot: Snapshot) -> None:
        path = self._settings.snapshots_dir / f"{self.record.id}.jpg"
        try:
            await asyncio.to_thread(_replace, path, snapshot.jpeg, f".{self.record.token}.part")
        except OSError as error:
            _log.warning("snapshot not kept", session=self.record.id, error=str(error))

    def _may_pass(self, error: Exception) -> bool:
        """Whether trying again may help: the decoder died, or a connection that had worked was lost."""
        if isinstance(error, DecoderDied):
            return True
        was_running = self._journal.record.started_at is not None
        return isinstance(error, VideoError) and error.code in PASSING_CODES and was_running and self._is_url

    @property
    def _is_url(self) -> bool:
        return self.record.source.kind == "url"

    async def _note_retry(self, error: Exception) -> None:
        _log.warning("decoder starts again", session=self.record.id, error=str(error))
        if isinstance(error, DecoderDied):
            self._metrics.decoder_restarts.inc()
            return
        self._metrics.reconnects.inc()
        if self._journal.record.state != "reconnecting":
            self._journal.state("reconnecting")
            await self._commit(with_checkpoint=True)

    async def _end(self, outcome: Outcome) -> None:
        if self._detection is not None:
            self._journal.actions(self._detection.finish())
        self._journal.state(outcome.state, code=outcome.code, detail=outcome.detail)
        self._journal.update(ended_at=datetime.now(UTC), warnings=outcome.warnings)
        await self._commit()
        self._metrics.ended.labels(outcome.state, outcome.code or "").inc()

    async def _commit_if_due(self) -> None:
        now_s = time.monotonic()
        waited_s = now_s - self._committed_s
        events_due = self._journal.has_events and (
            self.record.pace == "realtime" or waited_s >= COMMIT_FAST_EVENTS_EVERY_S
        )
        if events_due or waited_s >= COMMIT_EVERY_S:
            checkpoint_due = now_s - self._checkpointed_s >= CHECKPOINT_EVERY_S
            await self._commit(with_checkpoint=self._journal.has_events or checkpoint_due)

    async def _commit(self, *, with_checkpoint: bool = False) -> None:
        checkpoint: Checkpoint | None = None
        if with_checkpoint and self._detection is not None:
            checkpoint = await self._detection.checkpoint()
        await self._patiently(lambda: self._journal.commit(checkpoint))
        self._committed_s = time.monotonic()
        if checkpoint is not None:
            self._checkpointed_s = self._committed_s

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


def _failed(error: VideoError | SourceForbidden | DecoderDied) -> Outcome:
    if isinstance(error, DecoderDied):
        return Outcome("failed", "decode_failed", DECODER_DIED)
    return Outcome("failed", error.code, error.detail)


def _replace(path: Path, content: bytes, suffix: str) -> None:
    partial = path.with_suffix(suffix)
    partial.write_bytes(content)
    partial.replace(path)
