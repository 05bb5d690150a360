"""Runs the step graph: compiled for a few numbers of streams, with the states of the streams kept between the calls.

Shapes: B streams, H = W pixels, C channels, K labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from openvino import CompiledModel, Type
from torch import Tensor

from model.cake import Cake
from model.compiled.graph import Past, build_step_graph
from model.config import Precision
from model.folding import fold_norms

BATCHES = (8, 4, 2, 1)
"""Numbers of streams for which graphs are compiled. OpenVINO takes twice the time where the number is left open."""


@dataclass(frozen=True)
class StepState:
    """What B streams remember (see `model.state`)."""

    seen_B: Tensor
    """Frames seen, int64."""
    frame_BCHW: Tensor
    """See `TrunkState`."""
    pasts: tuple[Tensor, ...]


class StepRuntime:
    """One network, compiled when a number of streams is first asked for. Not thread-safe.

    It runs on as many threads as torch is set to when it compiles.
    """

    def __init__(self, model: Cake, precision: Precision) -> None:
        self._model = fold_norms(model)
        capabilities = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.bfloat16 = precision == "auto" and "BF16" in capabilities
        self._map_type, self._map_dtype = (Type.bf16, torch.bfloat16) if self.bfloat16 else (Type.f32, torch.float32)
        self._compiled: dict[int, _Compiled] = {}

    def prepare(self) -> None:
        """Compile for all of `BATCHES` now."""
        for streams in BATCHES:
            self._compiled_for(streams)

    def fresh(self) -> StepState:
        """One stream that has seen nothing."""
        pasts = tuple(
            torch.zeros(1, *past.shape, dtype=self._map_dtype if past.is_map else torch.float32)
            for past in self._compiled_for(1).pasts
        )
        frame_BCHW = self._model.trunk.fresh_frame(1, self._model.config.image_size)
        return StepState(torch.zeros(1, dtype=torch.int64), frame_BCHW, pasts)

    def step(self, x_BCHW: Tensor, state: StepState) -> tuple[NDArray[np.float32], StepState]:
        """Scores (B, K) in [0, 1] of one more frame of each stream, and the state after it. B is one of `BATCHES`."""
        x_BCHW, frame_BCHW = self._model.trunk.with_difference(x_BCHW, state.frame_BCHW, state.seen_B)
        compiled = self._compiled_for(len(x_BCHW))
        frames_BHWC = x_BCHW.permute(0, 2, 3, 1).contiguous()
        given = [frames_BHWC, state.seen_B[:, None].float(), *state.pasts]
        scores_BK, *gained = compiled.run(given, self._map_dtype)
        pasts = tuple(
            state.pasts[index + 1] if past.output is None else gained[past.output]
            for index, past in enumerate(compiled.pasts)
        )
        return scores_BK.numpy(), StepState(state.seen_B + 1, frame_BCHW, pasts)

    def _compiled_for(self, streams: int) -> _Compiled:
        if streams not in self._compiled:
            graph = build_step_graph(self._model, streams, self._map_type)
            options = {
                "INFERENCE_PRECISION_HINT": "bf16" if self.bfloat16 else "f32",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "PERFORMANCE_HINT": "LATENCY",
            }
            self._compiled[streams] = _Compiled(_core().compile_model(graph.model, "CPU", options), graph.pasts)
        return self._compiled[streams]


@cache
def _core() -> openvino.Core:
    """One for the process, never destroyed.

    Its CPU plugin gives the thread that makes it an alternative signal stack, and frees that in whichever thread
    destroys it: the first thread's next signal would end the process.
    """
    return openvino.Core()


class _Compiled:
    def __init__(self, compiled: CompiledModel, pasts: tuple[Past, ...]) -> None:
        self.pasts = pasts
        self._request = compiled.create_infer_request()
        self._outputs = [(tuple(port.shape), port.element_type) for port in compiled.outputs]

    def run(self, given: list[Tensor], map_dtype: torch.dtype) -> list[Tensor]:
        outputs = [
            torch.empty(shape, dtype=torch.float32 if kind == Type.f32 else map_dtype) for shape, kind in self._outputs
        ]
        for index, tensor in enumerate(given):
            self._request.set_input_tensor(index, _shared(tensor))
        for index, tensor in enumerate(outputs):
            self._request.set_output_tensor(index, _shared(tensor))
        self._request.infer(share_outputs=True)  # else it copies them
        return outputs


def _shared(tensor: Tensor) -> openvino.Tensor:
    """The same memory, as OpenVINO sees it. NumPy knows no bfloat16."""
    if tensor.dtype == torch.bfloat16:
        return openvino.Tensor(tensor.view(torch.int16).numpy(), tensor.shape, Type.bf16)
    return openvino.Tensor(tensor.numpy(), shared_memory=True)
