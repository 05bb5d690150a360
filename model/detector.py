"""The front door: load a model by name, push frames of many streams, get scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.cake import Cake
from model.checkpoint import load_checkpoint
from model.compiled.cohorts import Cohort, Cohorts, Stream
from model.compiled.runtime import BATCHES, StepRuntime
from model.config import Precision

__all__ = ["BATCHES", "Detector", "Stream"]


class Detector:
    """One model on the CPU. Not thread-safe: one thread pushes at a time. The caller chooses torch's thread count."""

    def __init__(
        self, model: Cake, version: str = "unsaved", name: str | None = None, *, precision: Precision = "float32"
    ) -> None:
        self._runtime = StepRuntime(model, precision)
        self._cohorts = Cohorts(self._runtime.lanes)
        self.config = model.config
        self.name = name or model.config.name
        self.version = version

    @classmethod
    def load(cls, name_or_path: str | Path, *, precision: Precision = "float32") -> Detector:
        """A shipped model by name, or a checkpoint folder, after which it is named.

        Raises `CheckpointNotFound` or `CheckpointInvalid`.
        """
        model, version = load_checkpoint(name_or_path)
        return cls(model, version, Path(name_or_path).name, precision=precision)

    def prepare(self, batches: Sequence[int] = BATCHES) -> None:
        """Do now what the first pushes would do: compile the network, half a second for each number of streams.

        `batches` are of `BATCHES`, descending, the last is 1; from then on streams are pushed through these alone.
        Unlike the rest this may run beside a thread that pushes, once it has run for some.
        """
        self._runtime.prepare(batches)

    @property
    def precision(self) -> str:
        """In which the network computes here: float32 or bfloat16."""
        return "bfloat16" if self._runtime.bfloat16 else "float32"

    def open_stream(self, saved: bytes | None = None) -> Stream:
        """A stream that has seen nothing, or that of `Stream.save`; `StateInvalid` when another model saved it."""
        stream = self._cohorts.open()
        if saved is not None:
            stream.restore(saved)
        return stream

    def push(self, streams: Sequence[Stream], images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Advance each stream by one frame.

        `images_BHWC` are RGB, one for each stream, `config.image_size` pixels square. Returns scores in [0, 1],
        (B, len(config.labels)). A stream must not occur twice in one call.
        """
        size = self.config.image_size
        if images_BHWC.shape != (len(streams), size, size, 3):
            raise ValueError(f"expected {len(streams)} frames of {size} x {size} x 3, got {images_BHWC.shape}")
        order = sorted(range(len(streams)), key=lambda index: _seat(streams[index]))
        scores_BK = np.empty((len(streams), len(self.config.labels)), np.float32)
        stepped: list[Cohort] = []
        for part in _parts(len(streams), self._runtime.batches):
            cohort = self._cohorts.gather([streams[index] for index in order[part]], busy=stepped)
            np.take(images_BHWC, order[part], axis=0, out=cohort.lanes.frames_BHWC)
            scores_BK[order[part]] = self._runtime.step(cohort.lanes)
            stepped.append(cohort)
        for cohort in stepped:  # only now: a push that fails has moved no stream on
            cohort.lanes.advance()
        for stream in streams:
            stream.frames += 1
        return scores_BK


def _seat(stream: Stream) -> tuple[int, int, int]:
    """An order in which those who sit side by side follow each other, large cohorts first."""
    return -stream.cohort.lanes.size, id(stream.cohort), stream.lane


def _parts(streams: int, batches: Sequence[int]) -> Iterator[slice]:
    """So many streams as the greatest of `batches` that fit, one after another."""
    begin = 0
    for batch in batches:
        while streams - begin >= batch:
            yield slice(begin, begin + batch)
            begin += batch
