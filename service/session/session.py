"""One session: source -> decoder -> engine -> starts -> events. The main loop of the product is `_analyse`."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

import structlog

from model.video.errors import VideoError
from model.video.info import VideoInfo
from service.decoder.clip_messages import ClipEnded, ClipPart
from service.decoder.messages import DecoderDiedError
from service.decoder.process import DecodedFrame, Dropped, Ended, FrameRun, Missed, Snapshot
from service.decoder.video_messages import NoVideo, VideoBegins, VideoFragment
from service.errors import NotFoundError, ServiceError
from service.live.viewers import Viewers
from service.session.changes import SettingChanges, as_run
from service.session.clips import SessionClips, clip_buffer_s
from service.session.commits import Commits
from service.session.context import WorkerContext
from service.session.detection import Detection
from service.session.events import EventBuffer
from service.session.missed_clips import MissedClips
from service.session.outcome import (
    INTERNAL_FAILURE,
    STREAM_ENDED,
    UPLOAD_NOT_FOUND,
    Outcome,
    SourceFailure,
    failed,
)
from service.session.quarantine import is_suspect, note_claim
from service.session.regions import describe_video, missed_of_video, region_names
from service.session.resume import resumed_detection
from service.session.shadow import SessionShadow
from service.session.snapshots import SnapshotWriter
from service.session.source import SessionSource
from service.sources.sources import SourceForbiddenError
from service.storage.deletion import delete_files_of_deleted
from service.store.records import SessionRecord
from service.store.worker_records import LeaseLostError

_log = structlog.get_logger(__name__)


class RunningSession:
    """Runs a claimed session to its end, or until it is stopped or handed over to another worker.

    Events are committed together with the resume point that follows them, so that resuming from it loses and repeats
    nothing.
    """

    def __init__(self, record: SessionRecord, context: WorkerContext) -> None:
        self._context = context
        record = as_run(record, context.engine)
        self._events = EventBuffer(record, context.metrics)
        self._source = SessionSource(record, context)
        self._commits = Commits(context, self._events, self._source)
        self._snapshots = SnapshotWriter(context.blobs, record.id)
        self._clips = SessionClips(record, context.blobs, context.settings, self._events)
        self._missed = MissedClips(record.id, context.store.feedback, self._clips)
        self._viewers = Viewers(region_names(record))
        self._shadow = SessionShadow(context)
        self._changes = SettingChanges(record, context.engine, self._events)
        self._detection: Detection | None = None
        self.is_watched = False
        """Whether a client is watching its snapshots."""
        self._halting: Literal["stop", "hand_over"] | None = None
        self._halted = asyncio.Event()

    @property
    def record(self) -> SessionRecord:
        """The session as it will be after the next commit."""
        return self._events.record

    @property
    def is_realtime(self) -> bool:
        """Whether its frames arrive at the pace of the recording."""
        return self._source.is_realtime

    @property
    def lag_s(self) -> float:
        """How old the newest frame was when its scores were available; 0 for sessions that are not realtime."""
        return self._events.lag_s if self._source.is_realtime else 0.0

    @property
    def cost_steps_per_s(self) -> float:
        """The capacity that it uses. A URL whose source turns out to be live uses more than was reserved."""
        live_steps_per_s = self._context.engine.config(self.record.model_key).sample_hz * self.record.streams
        return max(self.record.cost_steps_per_s, live_steps_per_s if self._source.is_realtime else 0.0)

    @property
    def streams(self) -> int:
        """How many streams of the detector it needs."""
        return self.record.streams

    @property
    def is_suspect(self) -> bool:
        """Whether it may crash this process, as it has crashed others."""
        return is_suspect(self.record)

    def change(self, record: SessionRecord) -> None:
        """Adopt the settings in the store's current record from the next frame on."""
        self._changes.note(record)

    def follow_shadow(self, key: str | None) -> None:
        """Let the shadow version with this key analyse its frames as well; None for no shadow."""
        self._shadow.follow(key)

    def stop(self) -> None:
        """End it as `stopped`, soon. Idempotent."""
        self._halt("stop")

    def hand_over(self) -> None:
        """Commit everything and leave it to another worker, soon. Idempotent."""
        self._halt("hand_over")

    def _halt(self, how: Literal["stop", "hand_over"]) -> None:
        self._halting = self._halting or how
        if self._halting == "hand_over":
            self._commits.stop_waiting()
        self._halted.set()
        self._source.halt()

    async def run(self) -> None:
        """Analyse the source. Returns when the session has ended, is handed over, or belongs to another worker."""
        record = self.record
        try:
            gate = self._context.gate
            with gate.viewers_of(record.id, self._viewers.admit), gate.missed_of(record.id, self._missed.take):
                outcome = await self._outcome()
            await self._clips.close()
            if self._halting == "hand_over" and outcome is None:
                self._events.update(claimed_at_position_s=None)
                await self._commits.settle(self._detection)
            else:
                await self._end(outcome or Outcome("stopped"))
        except (LeaseLostError, NotFoundError):
            _log.info("session belongs to another worker", session=record.id)
        except ServiceError as error:
            _log.warning("session handed over from an older resume point", session=record.id, error=error.detail)
        finally:
            await self._commits.close()
            await self._snapshots.close()
            await self._missed.close()
            await self._clips.close()
            await self._viewers.close()
            await self._shadow.close()
            await delete_files_of_deleted(self._context.store.sessions, self._context.blobs, record.id)
            self._context.blobs.forget_upload(record.id, record.token)
            if self._detection is not None:
                self._detection.close()

    async def _outcome(self) -> Outcome | None:
        """How the source ended; None when the session was stopped or handed over before."""
        record, blobs = self.record, self._context.blobs
        try:
            if (outcome := note_claim(self._events, self._context.metrics)) is not None:
                return outcome
            # Before the detection begins, so that a worker that crashes there is also counted.
            if record.state == "queued":
                self._events.enter_state("starting")
            await self._commits.settle(None)
            self._detection = await resumed_detection(self._context, self._events, self._commits, self._source)
            self._events.decide_by(self._detection.rules)
            if record.state != "queued":
                await self._commits.settle(None)
            if record.source.kind == "upload":
                try:
                    await self._commits.retry(lambda: blobs.fetch_upload(record.id, record.token))
                except FileNotFoundError:
                    return UPLOAD_NOT_FOUND
            return await self._follow(self._detection)
        except (LeaseLostError, ServiceError):
            raise
        except Exception:
            # A bug in this code or in a model ends only this session.
            _log.exception("session failed unexpectedly", session=record.id)
            self._context.metrics.poison.labels("sessions").inc()
            return INTERNAL_FAILURE

    async def _follow(self, detection: Detection) -> Outcome | None:
        """Analyse to the end of the source; reopen it when the decoder dies or the connection is lost."""
        while self._halting is None:
            try:
                return await self._analyse(detection)
            except (VideoError, SourceForbiddenError, DecoderDiedError) as error:
                if self._halting is not None:
                    break
                has_worked = self.record.started_at is not None
                delay_s = self._source.retry_delay_s(error, position_s=detection.position_s, has_worked=has_worked)
                if delay_s is None:
                    return failed(error)
                await self._note_retry(error, detection)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._halted.wait()
        return None

    async def _analyse(self, detection: Detection) -> Outcome | None:
        """The lifetime of one decoder: its frames go to the detector, the scores to the start decoder, the events to
        commits.
        """
        settings, config = self._context.settings, self._context.engine.config(self.record.model_key)
        kept_s = clip_buffer_s(
            settings, self.record, config, detection.rules.values(), is_realtime=self._source.is_realtime
        )
        source = self._source.open(detection.detector_s, replay_until_s=detection.position_s, clip_buffer_s=kept_s)
        async with source as decoder, self._clips.of_decoder(decoder, has_buffer=kept_s > 0):
            async for message in decoder.messages(lambda: self.is_watched, self._viewers.want_video):
                match message:
                    case DecodedFrame():
                        await self._detect(detection, message)
                    case FrameRun(frames):
                        await self._detect(detection, *frames)
                    case VideoInfo():
                        await self._opened(message, detection)
                    case Dropped():
                        self._events.count_dropped(message.frames)
                    case Missed():
                        self._context.metrics.quiet_misses.inc(message.count)
                    case Snapshot():
                        self._snapshots.put(message.jpeg)
                    case ClipPart() | ClipEnded():
                        self._clips.take(message)
                    case VideoBegins() | VideoFragment() | NoVideo():
                        self._viewers.take(message)
                    case Ended(is_final=False) if not self._source.is_pushed:
                        raise VideoError("source_unreachable", STREAM_ENDED)
                    case Ended():
                        return Outcome("completed", warnings=message.warnings)
                if self._halting is not None:
                    break
        return None

    async def _detect(self, detection: Detection, *frames: DecodedFrame) -> None:
        await self._changes.apply(detection)
        self._source.frame_arrived(frames[-1])
        for result in await detection.push(*frames):
            starts = self._events.add_frame(result)
            self._clips.order(starts)
            self._shadow.push(self.record, result.frame, starts)
            self._viewers.add_scores(result.frame.pts_s, result.scores)
        await self._commits.commit_if_due(detection)

    async def _opened(self, info: VideoInfo, detection: Detection) -> None:
        self._source.opened(info)
        config = self._context.engine.config(self.record.model_key)
        self._events.update(
            video=describe_video(info, config, self.record),
            warnings=(*config.warnings, *missed_of_video(info, config, self.record), *self._clips.warnings),
        )
        if info.live:
            detection.prioritise()
        if self.record.started_at is None:
            self._events.update(started_at=datetime.now(UTC))
        if self.record.state != "running":
            self._events.enter_state("running")
        await self._commits.commit_soon(detection)

    async def _note_retry(self, error: SourceFailure, detection: Detection) -> None:
        _log.warning("source will be reopened", session=self.record.id, error=str(error))
        if isinstance(error, DecoderDiedError):
            self._context.metrics.decoder_restarts.inc()
            if self._source.can_rewind:
                return
        self._events.count_reconnect()
        if not self._source.can_rewind:
            detection.interrupt()
            self._shadow.restart()
        if self.record.state != "reconnecting":
            self._events.enter_state("reconnecting")
        # At every attempt, because it was counted, clips are stored in the meantime, and no frame causes the next
        # commit.
        await self._commits.commit_soon(detection)

    async def _end(self, outcome: Outcome) -> None:
        if self._detection is not None:
            self._events.add_actions(self._detection.finish())
        self._events.enter_state(outcome.state, code=outcome.code, detail=outcome.detail)
        self._events.update(ended_at=datetime.now(UTC), warnings=(*self.record.warnings, *outcome.warnings))
        await self._commits.settle(None)
        self._context.metrics.ended.labels(outcome.state, outcome.code or "").inc()
