"""The entry point for users of a model: load it by name, push frames of many streams, get scores."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.checkpoints.stored import CheckpointError, StoredNetwork, read_network
from model.clip_stream import ClipStream
from model.compiled.graph_files import GraphFiles
from model.compiled.groups import Group, Groups
from model.compiled.groups import Stream as CausalStream
from model.compiled.layers import Network
from model.compiled.runtime import BATCHES, StepRuntime
from model.config import Mode, ModelConfig, Precision

if TYPE_CHECKING:
    from model.clip_mode import ClipRunner

__all__ = ["BATCHES", "Detector", "Stream"]

Stream = CausalStream | ClipStream
"""The state of one stream, opaque: made by `Detector.open_stream`, advanced by `Detector.push`, and saved by `save`."""


class Detector:
    """One model on the CPU, in the mode of its configuration: causal, or clip at about 13 times the cost.

    Not thread-safe: one thread pushes at a time.

    Args:
        network: a stored one, or a `model.network.cake.Cake`, whose weights are copied.
        threads: how many a push uses.
        graphs: where compiled graphs of stored networks are kept for later processes.
        mode: used in place of the network's own.
    """

    def __init__(
        self,
        network: Network,
        version: str = "unsaved",
        name: str | None = None,
        *,
        precision: Precision = "float32",
        threads: int = 1,
        graphs: GraphFiles | None = None,
        mode: Mode | None = None,
    ) -> None:
        self.config: ModelConfig = replace(network.config, mode=mode or network.config.mode)
        self.name = name or network.config.name
        self.version = version
        self.reference_scores = network.reference_scores if isinstance(network, StoredNetwork) else {}
        self._background_K = np.eye(1, len(self.config.labels), dtype=np.float32)[0]
        self._clips = _clip_runner(network, threads) if self.config.mode == "clip" else None
        self._runtime = StepRuntime(network, precision, threads, graphs)
        self._groups = Groups(self._runtime.slots, self.config.trunk.window_steps)

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        precision: Precision = "float32",
        threads: int = 1,
        graphs: GraphFiles | None = None,
        mode: Mode | None = None,
    ) -> Detector:
        """Load a shipped model by name, or a checkpoint folder, whose name the detector takes.

        `mode` replaces the checkpoint's own.

        Raises:
            CheckpointNotFoundError: there is neither.
            CheckpointError: the checkpoint is damaged, lacks parts of the network, or needs PyTorch for its mode.
        """
        network, name = read_network(name_or_path), Path(name_or_path).name
        return cls(network, network.version, name, precision=precision, threads=threads, graphs=graphs, mode=mode)

    def twin(self) -> Detector:
        """The same model with separate graphs and streams; no graph is compiled yet."""
        twin = copy(self)
        twin._runtime = self._runtime.twin()
        twin._groups = Groups(twin._runtime.slots, self.config.trunk.window_steps)
        return twin

    def prepare(self, batches: Sequence[int] = BATCHES) -> None:
        """Compile the network now instead of in the first pushes: half a second for each batch size.

        `batches` is a selection of `BATCHES`, descending, that ends with 1. From then on, only these batch sizes are
        used. Unlike the other methods, it may run while another thread pushes, once it has completed for the first
        time. Clip mode has nothing to compile.
        """
        if self._clips is None:
            self._runtime.prepare(batches)

    @property
    def precision(self) -> str:
        """The precision of the network on this machine: float32 or bfloat16 (see `model.compiled.precision`).

        Clip mode always computes in float32.
        """
        return "bfloat16" if self._clips is None and self._runtime.bfloat16 else "float32"

    def open_stream(self, saved: bytes | None = None) -> Stream:
        """A stream in its initial state, or in a state that `Stream.save` returned.

        Raises:
            StateError: another model saved it.
        """
        if self._clips is not None:
            clip_stream = ClipStream(self.config)
            if saved is not None:
                clip_stream.restore(saved)
            return clip_stream
        stream = self._groups.open()
        if saved is not None:
            stream.restore(saved)
        return stream

    def push(
        self, streams: Sequence[Stream], images_BHWC: NDArray[np.uint8], unchanged_B: Sequence[bool] | None = None
    ) -> NDArray[np.float32]:
        """Advance each stream by one frame.

        While a stream's image stays the same, so does the input of its GRU, after two or three seconds. From then on,
        only the GRU is computed, at a tenth of the cost. Scores differ from those of whole steps by at most 0.002.

        Args:
            streams: all different.
            images_BHWC: RGB, one for each stream, `config.image_size` pixels square.
            unchanged_B: which of them equal the stream's previous image; None if that is not known. Clip mode ignores
                it.

        Returns:
            Scores in [0, 1], (B, len(config.labels)): 1 for the background, 0 for actions, while a stream settles
            (`ModelConfig.settle_s`).

        Raises:
            ValueError: the images have another shape.
        """
        size = self.config.image_size
        if images_BHWC.shape != (len(streams), size, size, 3):
            raise ValueError(f"expected {len(streams)} frames of {size} x {size} x 3, got {images_BHWC.shape}")
        if self._clips is not None:
            scores_BK = self._clips.push([s for s in streams if isinstance(s, ClipStream)], images_BHWC)
        else:
            causal = [s for s in streams if isinstance(s, CausalStream)]
            scores_BK = self._push_causal(causal, images_BHWC, unchanged_B or [False] * len(causal))
        settling_B = [stream.frames <= self.config.settle_frames for stream in streams]
        scores_BK[settling_B] = self._background_K
        return scores_BK

    def _push_causal(
        self, streams: Sequence[CausalStream], images_BHWC: NDArray[np.uint8], unchanged_B: Sequence[bool]
    ) -> NDArray[np.float32]:
        settled = [index for index, stream in enumerate(streams) if unchanged_B[index] and stream.has_settled]
        order = sorted({*range(len(streams))}.difference(settled), key=lambda index: _slot_order(streams[index]))
        scores_BK = np.empty((len(streams), len(self.config.labels)), np.float32)
        stepped: list[Group] = []
        for part in _parts(len(order), self._runtime.batches):
            group = self._groups.gather([streams[index] for index in order[part]], busy=stepped)
            np.take(images_BHWC, order[part], axis=0, out=group.slots.frames_BHWC)
            scores_BK[order[part]] = self._runtime.step(group.slots)
            stepped.append(group)
        places = [(streams[index].group.slots, streams[index].slot) for index in settled]
        if places:
            given_BG = np.concatenate([slots.given_BG[slot : slot + 1] for slots, slot in places])
            hidden_BH = np.concatenate([slots.hidden(slot) for slots, slot in places])
            scores_BK[settled], hidden_BH = self._runtime.step_head(given_BG, hidden_BH)
        # Not earlier: a push that fails must not advance any stream.
        for group in stepped:
            group.slots.advance()
        for number, (slots, slot) in enumerate(places):
            slots.hidden(slot)[:] = hidden_BH[number]
        for index in order:
            streams[index].follow(is_unchanged=unchanged_B[index])
        for stream in streams:
            stream.frames += 1
        return scores_BK


def _clip_runner(network: Network, threads: int) -> ClipRunner:
    if find_spec("torch") is None:
        raise CheckpointError(
            f"{network.config.name} runs in clip mode, which needs PyTorch, a part of the extra `train`: "
            "pip install '.[train]'"
        )
    # Otherwise, threads that wait for each other keep their cores busy: on a machine with other work, a clip takes five
    # times as long (findings/torch-threads-wait-busily-on-busy-cores.sh). It is read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Nothing else here needs torch, which takes seconds to import.
    from model.clip_mode import ClipRunner

    return ClipRunner(network, threads)


def _slot_order(stream: CausalStream) -> tuple[int, int, int]:
    """Sorts streams so that adjacent slots of one group follow each other, large groups first."""
    return -stream.group.slots.size, id(stream.group), stream.slot


def _parts(streams: int, batches: Sequence[int]) -> Iterator[slice]:
    """Slices of `streams` streams into batches of these sizes, the largest that fit first."""
    begin = 0
    for batch in batches:
        while streams - begin >= batch:
            yield slice(begin, begin + batch)
            begin += batch
