"""What the store keeps of workers: their capacity, their leases, and what their sessions have reserved."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.push.protocol import PushAddress
from service.schemas import SessionState
from service.server_schemas import ModelInfo

LEASE_S = 10.0
"""A worker that has not renewed its lease for this long loses its sessions."""


class LeaseLostError(Exception):
    """The session belongs to another worker, has ended or was deleted: stop working on it and write nothing."""


@dataclass(frozen=True)
class WorkerInfo:
    """A worker and its capacity, as it registered."""

    id: str
    capacity_steps_per_s: float
    models: tuple[ModelInfo, ...]
    """The models that it has loaded; an uploaded one has its key for a name."""
    push: PushAddress | None = None
    """Where it accepts the streams that clients push to its sessions."""
    confinement: Mapping[str, bool] | None = None
    """Which mechanisms of the kernel confine its decoders, by name; None in workers of version 0.1."""
    model_failures: Mapping[str, str] = field(default_factory=dict)
    """Keys of the uploaded models that it cannot load, each with the reason as a sentence."""


@dataclass(frozen=True)
class LeaseRenewal:
    """What a worker learns when it renews its leases: ids of sessions to stop, of sessions with watchers, and of those
    with a change that it has not published; and the keys of the uploaded models, which it is to load, and of the
    shadows among them.
    """

    stop_requested: set[str]
    watched: set[str]
    changed: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    shadows: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class ServiceLoad:
    """Capacity of the live workers and what sessions have reserved, in steps per second."""

    capacity_steps_per_s: float
    reserved_steps_per_s: float
    workers: int
    sessions: dict[SessionState, int]
