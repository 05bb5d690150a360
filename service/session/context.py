"""What all sessions of a worker share, as one object."""

from dataclasses import dataclass

from service.decoder.fork_server import ForkServer
from service.observability.telemetry import WorkerMetrics
from service.push.gate import PushGate
from service.session.engine import Engine
from service.settings import Settings
from service.storage.blobs import Blobs
from service.store.protocols import Store


@dataclass(frozen=True)
class CommitSchedule:
    """How often a session commits. Events of live sessions are committed immediately; everything else is gathered."""

    every_s: float = 1.0
    events_every_s: float = 0.25
    detector_snapshot_every_s: float = 5.0


@dataclass(frozen=True)
class WorkerContext:
    """The surroundings of a worker's sessions."""

    store: Store
    engine: Engine
    metrics: WorkerMetrics
    settings: Settings
    gate: PushGate
    blobs: Blobs
    commit_schedule: CommitSchedule = CommitSchedule()
    forks: ForkServer | None = None
    """Forks the decoders; without it, each decoder starts a separate process to be forked from."""
