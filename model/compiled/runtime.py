"""Runs the step graph: compiled for a few numbers of streams, on memory that stays where it is.

Shapes: B streams, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from openvino import CompiledModel, Type

from model.cake import Cake
from model.compiled.graph import Memory, build_step_graph
from model.compiled.lanes import Lanes
from model.config import Precision
from model.folding import fold_norms

BATCHES = (8, 4, 2, 1)
"""Numbers of streams for which graphs are compiled. OpenVINO takes twice the time where the number is left open."""


class StepRuntime:
    """One network, compiled when a number of streams is first asked for. Not thread-safe.

    It runs on as many threads as torch is set to when it compiles.
    """

    def __init__(self, model: Cake, precision: Precision) -> None:
        self._model = fold_norms(model)
        capabilities = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.bfloat16 = precision == "auto" and "BF16" in capabilities
        self._map_type = Type.bf16 if self.bfloat16 else Type.f32
        self.batches: Sequence[int] = BATCHES
        """Numbers of streams to step together, descending."""
        self._compiled: dict[int, _Compiled] = {}

    def prepare(self, batches: Sequence[int]) -> None:
        """Compile for these now. Another thread may step meanwhile, with those compiled before."""
        for streams in batches:
            self._compiled_for(streams)
        self.batches = batches

    def lanes(self, streams: int) -> Lanes:
        """Room for streams that have seen nothing; so many as one of `BATCHES`."""
        memories = self._compiled_for(streams).memories
        return Lanes(streams, memories, self._map_type, self._model.config.image_size)

    def step(self, lanes: Lanes) -> NDArray[np.float32]:
        """Scores (B, K) in [0, 1] of the lanes' frames. What follows from them is remembered with `Lanes.advance`."""
        return self._compiled_for(lanes.size).run(lanes)

    def _compiled_for(self, streams: int) -> _Compiled:
        if streams not in self._compiled:
            graph = build_step_graph(self._model, streams, self._map_type)
            options = {
                "INFERENCE_PRECISION_HINT": "bf16" if self.bfloat16 else "f32",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "PERFORMANCE_HINT": "LATENCY",
            }
            self._compiled[streams] = _Compiled(_core().compile_model(graph.model, "CPU", options), graph.memories)
        return self._compiled[streams]


@cache
def _core() -> openvino.Core:
    """One for the process, never destroyed.

    Its CPU plugin gives the thread that makes it an alternative signal stack, and frees that in whichever thread
    destroys it: the first thread's next signal would end the process.
    """
    return openvino.Core()


class _Compiled:
    def __init__(self, compiled: CompiledModel, memories: tuple[Memory, ...]) -> None:
        self.memories = memories
        self._request = compiled.create_infer_request()
        self._scores_BK = np.zeros(tuple(compiled.outputs[0].shape), np.float32)
        self._request.set_output_tensor(0, openvino.Tensor(self._scores_BK, shared_memory=True))

    def run(self, lanes: Lanes) -> NDArray[np.float32]:
        lanes.bind(self._request)
        self._request.infer(share_outputs=True)  # else it copies them
        return self._scores_BK.copy()
