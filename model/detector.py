"""The front door: load a model by name, push frames of many streams, get scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.cake import Cake
from model.checkpoint import load_checkpoint
from model.compiled.runtime import BATCHES, StepRuntime, StepState
from model.config import Precision
from model.preprocess import normalise
from model.state import concatenate, from_bytes, map_state, to_bytes


@dataclass(frozen=True, eq=False)
class _Batch:
    """The states of streams that were pushed together, as the network left them."""

    state: StepState
    streams: int


class Stream:
    """What a detector remembers of one stream. Opaque: made by `Detector.open_stream`, advanced by `Detector.push`."""

    def __init__(self, state: StepState) -> None:
        self._batch, self._index = _Batch(state, 1), 0

    @property
    def frames(self) -> int:
        """Frames pushed so far."""
        return int(self._batch.state.seen_B[self._index])

    def save(self) -> bytes:
        """Everything that `Detector.open_stream` needs to go on from here as if nothing had happened."""
        return to_bytes(self._state())

    def _state(self) -> StepState:
        return map_state(lambda tensor: tensor[self._index : self._index + 1], self._batch.state)


class Detector:
    """One model on the CPU. Not thread-safe: one thread pushes at a time. The caller chooses torch's thread count."""

    def __init__(
        self, model: Cake, version: str = "unsaved", name: str | None = None, *, precision: Precision = "float32"
    ) -> None:
        self._runtime = StepRuntime(model, precision)
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

    def prepare(self) -> None:
        """Do now what the first pushes would do: compile the network for each number of streams (seconds)."""
        self._runtime.prepare()

    @property
    def precision(self) -> str:
        """In which the network computes here: float32 or bfloat16."""
        return "bfloat16" if self._runtime.bfloat16 else "float32"

    def open_stream(self, saved: bytes | None = None) -> Stream:
        """A stream that has seen nothing, or that of `Stream.save`; `StateInvalid` when another model saved it."""
        fresh = self._runtime.fresh()
        return Stream(fresh if saved is None else from_bytes(saved, fresh))

    @torch.inference_mode()
    def push(self, streams: Sequence[Stream], images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Advance each stream by one frame.

        `images_BHWC` are RGB, one for each stream, `config.image_size` pixels square. Returns scores in [0, 1],
        (B, len(config.labels)). A stream must not occur twice in one call.
        """
        size = self.config.image_size
        if images_BHWC.shape != (len(streams), size, size, 3):
            raise ValueError(f"expected {len(streams)} frames of {size} x {size} x 3, got {images_BHWC.shape}")
        pushed = [self._push(streams[part], images_BHWC[part]) for part in _parts(len(streams))]
        for part, (_, batch) in zip(_parts(len(streams)), pushed, strict=True):
            for index, stream in enumerate(streams[part]):  # only now: a push that fails has moved no stream
                stream._batch, stream._index = batch, index
        return np.concatenate([scores_BK for scores_BK, _ in pushed])

    def _push(self, streams: Sequence[Stream], images_BHWC: NDArray[np.uint8]) -> tuple[NDArray[np.float32], _Batch]:
        scores_BK, state = self._runtime.step(torch.from_numpy(normalise(images_BHWC)), _gather(streams))
        return scores_BK, _Batch(state, len(streams))


def _parts(streams: int) -> Iterator[slice]:
    """So many streams as the greatest of `BATCHES` that fit, one after another."""
    begin = 0
    for batch in BATCHES:
        while streams - begin >= batch:
            yield slice(begin, begin + batch)
            begin += batch


def _gather(streams: Sequence[Stream]) -> StepState:
    """Their states as one. Streams that are pushed together again, in the same order, are one already."""
    batch = streams[0]._batch
    together = batch.streams == len(streams)
    if together and all(stream._batch is batch and stream._index == i for i, stream in enumerate(streams)):
        return batch.state
    return concatenate([stream._state() for stream in streams])
