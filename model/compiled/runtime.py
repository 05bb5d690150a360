"""Runs the step graph: compiled for a few batch sizes, on memory that stays in place.

Shapes: B streams, K labels; G input values of the GRU, and H of its state.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cache

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import CompiledModel, InferRequest, Type

from model.checkpoints.stored import StoredNetwork
from model.compiled.graph import Memory, build_head_graph, build_step_graph, given_width
from model.compiled.graph_files import GraphFiles
from model.compiled.kept_graph import graph_key, pack, unpack
from model.compiled.layers import Network
from model.compiled.precision import choose_map_type
from model.compiled.slots import BatchSlots
from model.compiled.stored_layers import read_layers
from model.config import Precision

BATCHES = (8, 4, 2, 1)
"""Batch sizes for which graphs are compiled. With a variable batch size, OpenVINO takes twice the time."""


class StepRuntime:
    """One network, compiled for a batch size when it is first used. Not thread-safe.

    Graphs of a stored network are read from and written to `graphs`. Raises CheckpointError and ConfigError like
    `read_layers`.
    """

    def __init__(
        self, network: Network, precision: Precision, threads: int = 1, graphs: GraphFiles | None = None
    ) -> None:
        self._layers = read_layers(network)
        self._digest = network.digest if isinstance(network, StoredNetwork) else None
        self._graphs = graphs
        self._map_type = choose_map_type(precision, _core())
        self.bfloat16 = self._map_type == Type.bf16
        self._options = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.bfloat16 else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            # Every process would pin its steps to the same core, which several workers would share.
            "ENABLE_CPU_PINNING": False,
        }
        self.batches: Sequence[int] = BATCHES
        """Batch sizes in use, descending."""
        self._compiled: dict[int, _Compiled] = {}
        self._head: InferRequest | None = None
        self._memories: tuple[Memory, ...] | None = None
        """The same for every batch size; known once one is compiled."""

    def twin(self) -> StepRuntime:
        """Another runtime of the same network, not compiled yet."""
        twin = copy(self)
        twin.batches, twin._compiled, twin._head = BATCHES, {}, None
        return twin

    def prepare(self, batches: Sequence[int]) -> None:
        """Compile for these batch sizes now. Another thread may step at the same time, with graphs that were
        compiled before.
        """
        for streams in batches:
            self._compiled_for(streams)
        self.batches = batches

    def slots(self, streams: int) -> BatchSlots:
        """Slots for `streams` streams in their initial state; `streams` is one of `BATCHES`."""
        if self._memories is None:
            self._memories = self._compiled_for(streams).memories
        config = self._layers.config
        return BatchSlots(streams, self._memories, self._map_type, config.image_size, given_width(config.head))

    def step(self, slots: BatchSlots) -> NDArray[np.float32]:
        """Scores (B, K) in [0, 1] of the slots' frames. `BatchSlots.advance` then keeps the new states."""
        return self._compiled_for(slots.size).run(slots)

    def step_head(
        self, given_BG: NDArray[np.float32], hidden_BH: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores (B, K) and the next hidden states (B, H) of streams whose GRU gets the same input again."""
        if self._head is None:
            model = build_head_graph(self._layers, self._map_type)
            self._head = _core().compile_model(model, "CPU", self._options).create_infer_request()
        scores_BK, next_BH = self._head.infer([given_BG, hidden_BH]).values()
        return scores_BK, next_BH

    def _compiled_for(self, streams: int) -> _Compiled:
        if streams not in self._compiled:
            self._compiled[streams] = self._take(streams)
        return self._compiled[streams]

    def _take(self, streams: int) -> _Compiled:
        """A graph that this or another process compiled before, or a newly compiled one."""
        if self._graphs is None or self._digest is None:
            return self._compile(streams)
        key = graph_key(_core(), self._digest, streams, self._options)
        kept = self._graphs.read(key)
        if kept is not None:
            try:
                memories, graph = unpack(kept)
                return _Compiled(_core().import_model(graph, "CPU", self._options), memories)
            except (RuntimeError, ValueError):  # not ours: OpenVINO cannot read it
                self._graphs.delete(key)
        made = self._compile(streams)
        self._graphs.write(key, pack(made.memories, made.compiled.export_model()))
        return made

    def _compile(self, streams: int) -> _Compiled:
        graph = build_step_graph(self._layers, streams, self._map_type)
        return _Compiled(_core().compile_model(graph.model, "CPU", self._options), graph.memories)


@cache
def _core() -> openvino.Core:
    """One for the process, never destroyed.

    Its CPU plugin gives the thread that creates it an alternate signal stack, and frees it in whichever thread destroys
    the core: the first thread's next signal would end the process.
    """
    return openvino.Core()


class _Compiled:
    def __init__(self, compiled: CompiledModel, memories: tuple[Memory, ...]) -> None:
        self.memories = memories
        self.compiled = compiled
        self._request = compiled.create_infer_request()
        self._scores_BK = np.zeros(tuple(compiled.outputs[0].shape), np.float32)
        self._request.set_output_tensor(0, openvino.Tensor(self._scores_BK, shared_memory=True))

    def run(self, slots: BatchSlots) -> NDArray[np.float32]:
        slots.bind(self._request)
        self._request.infer(share_outputs=True)  # otherwise it copies them
        return self._scores_BK.copy()
