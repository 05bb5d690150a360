"""Loads and unloads uploaded models while the worker runs its sessions, one at a time."""

import asyncio
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

import numpy as np
import structlog

from model.checkpoints.stored import CheckpointError, network_of_bytes
from model.compiled.graph_files import GraphFiles
from model.config import ConfigError
from model.detector import Detector
from service.errors import ServiceError
from service.model_description import describe
from service.server_schemas import ModelInfo
from service.session.context import WorkerContext
from service.session.engine import FIRST_BATCHES
from service.storage.model_files import StoredModelFiles
from service.store.worker_records import WorkerInfo
from service.worker.capacity import relative_speed

RETRY_S = 10.0
"""Delay after a failure of the store or the bucket. A damaged model is not tried again."""
_log = structlog.get_logger(__name__)


class UploadedModels:
    """The uploaded models of one worker, by their keys. A model that fails is reported; the worker continues."""

    def __init__(
        self,
        context: WorkerContext,
        configured: Mapping[str, Detector],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`configured` are the models for which the worker's capacity was measured. Without any, the capacity never
        changes.
        """
        self._context = context
        self._configured = configured
        self._clock = clock
        self._wanted: set[str] = set()
        self._shadows: AbstractSet[str] = frozenset()
        self._loaded: dict[str, ModelInfo] = {}
        self.speeds: dict[str, float] = {}
        """For each loaded model that is slower than the configured ones, its share of their speed."""
        self._failures: dict[str, str] = {}
        self._retry_at_s: dict[str, float] = {}
        """When to try a model again that could not be fetched."""
        self._changed = asyncio.Event()

    def follow(self, keys: set[str], shadows: AbstractSet[str] = frozenset()) -> None:
        """Load and unload until the models are those with these keys. Call it regularly.

        `shadows` are those that only follow sessions: they use what these leave, so they take no capacity from them.
        """
        self._wanted, self._shadows = keys, shadows
        if self._due() or self._loaded.keys() - keys or self._failures.keys() - keys:
            self._changed.set()

    def offered_by(self, worker: WorkerInfo) -> WorkerInfo:
        """The worker with the models that are loaded now, and the capacity that remains with them."""
        slowest = min((speed for key, speed in self.speeds.items() if key not in self._shadows), default=1.0)
        return replace(
            worker,
            models=(*worker.models, *self._loaded.values()),
            model_failures=dict(self._failures),
            capacity_steps_per_s=worker.capacity_steps_per_s * slowest,
        )

    async def run(self) -> None:
        """Do what `follow` asks for, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._unload()
            for key in sorted(self._due()):
                await self._load(key)

    def _due(self) -> set[str]:
        now_s = self._clock()
        waiting = {key for key, at_s in self._retry_at_s.items() if at_s > now_s}
        damaged = self._failures.keys() - self._retry_at_s.keys()
        return self._wanted - self._loaded.keys() - damaged - waiting

    def _unload(self) -> None:
        for key in self._loaded.keys() - self._wanted:
            if self._context.engine.remove(key):
                del self._loaded[key]
                self.speeds.pop(key, None)
                self._context.metrics.scores.forget(key)
                _log.info("model unloaded", model=key)
        for key in self._failures.keys() - self._wanted:
            del self._failures[key]
            self._retry_at_s.pop(key, None)

    async def _load(self, key: str) -> None:
        self._retry_at_s.pop(key, None)
        try:
            files = await self._context.blobs.models.read(key)
            name = key.rpartition("@")[0]
            detector = await asyncio.to_thread(self._prepared, key, files)
            info = describe(key, detector, "uploaded")
            if (speed := await asyncio.to_thread(self._speed, detector)) is not None:
                self.speeds[key] = speed
        except (ServiceError, FileNotFoundError) as error:
            self._retry_at_s[key] = self._clock() + RETRY_S
            self._fail(key, error.detail if isinstance(error, ServiceError) else "Its files are not in the storage.")
        except (CheckpointError, ConfigError) as error:
            self._fail(key, f"{error}.")
        except Exception:
            _log.exception("model not loaded", model=key)
            self._context.metrics.poison.labels("models").inc()
            self._fail(key, "It failed unexpectedly; the log of the worker has the reason.")
        else:
            self._failures.pop(key, None)
            self._context.engine.add(key, name, detector)
            self._context.metrics.scores.expect(key, detector.reference_scores)
            self._loaded[key] = info
            _log.info("model loaded", model=key)

    def _fail(self, key: str, reason: str) -> None:
        self._failures[key] = reason
        _log.warning("model not loaded", model=key, reason=reason)

    def _prepared(self, key: str, files: StoredModelFiles) -> Detector:
        """In a thread: the detector, compiled for one stream and tried. Raises CheckpointError, ConfigError."""
        settings = self._context.settings
        name, _, version = key.rpartition("@")
        network = network_of_bytes(name, files.config_json, files.weights, files.scores_json)
        if network.version != version:
            raise CheckpointError("its files in the storage have changed since they were uploaded")
        graphs = GraphFiles(settings.data_dir / "graphs")
        detector = Detector(
            network, version, name, precision=settings.precision, threads=settings.worker_threads, graphs=graphs
        )
        detector.prepare(FIRST_BATCHES)
        size = network.config.image_size
        frame_BHWC = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
        scores_BK = detector.push([detector.open_stream()], frame_BHWC)
        if not np.isfinite(scores_BK).all():
            raise CheckpointError("its scores of a frame of noise are not finite")
        return detector

    def _speed(self, detector: Detector) -> float | None:
        """In a thread: its share of the speed of the slowest configured model, if it is clearly slower."""
        if self._context.settings.worker_capacity_steps_per_s is not None or not self._configured:
            return None
        return relative_speed(detector, self._configured.values())
