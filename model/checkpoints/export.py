"""The network as ONNX graphs: one step of the causal network, and the paper's clip mode.

The state is passed as named tensors: the output `next.X` of one call is the input `state.X` of the next call; a stream
begins with zeros. The first dimension of every tensor is the stream; a call takes any number of streams. Everything
else that a runtime must know is in the graphs' metadata.

Needs the extra `train`. Shapes: B streams, C = 3 channels (RGB), T frames of a clip, H = W pixels, H alone the hidden
state.
"""

from __future__ import annotations

import copy
import json
import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.network.cake import Cake
from model.network.folding import fold_norms
from model.network.head import Head
from model.network.state import map_state
from model.video.preprocess import MEAN, STD

TOLERANCE = 1e-3
_EXAMPLE_STREAMS = 2  # torch.export takes a dimension of one for a constant


class GraphMismatchError(ValueError):
    """An exported graph computes something different from torch."""


@dataclass(frozen=True)
class Graph:
    """The content of one ONNX file: `module(input, states)` -> `outputs` and the next states, as one flat tuple."""

    module: nn.Module
    input_name: str
    input_shape: tuple[int, ...]
    """Without the streams."""
    outputs: tuple[str, ...]
    states: Mapping[str, Tensor]
    """States of `_EXAMPLE_STREAMS` streams that have seen nothing: zeros."""


@dataclass(frozen=True)
class Agreement:
    """How closely an exported graph agrees with PyTorch, and how fast both are."""

    worst: float
    """Largest difference of any output in any call, relative to the output's largest value where that is above 1."""
    torch_s: float
    """Median seconds of a call with one stream."""
    onnxruntime_s: float


class _Step(nn.Module):
    def __init__(self, model: Cake) -> None:
        super().__init__()
        self.model = fold_norms(model)
        self.fresh = self.model.fresh(_EXAMPLE_STREAMS)

    def forward(self, frames_BCHW: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        given = iter(states)

        def take(fresh: Tensor) -> Tensor:
            return next(given) if fresh.numel() else fresh.new_zeros(frames_BCHW.shape[0], *fresh.shape[1:])

        scores_BK, after = self.model.step(frames_BCHW, map_state(take, self.fresh))
        return scores_BK, *_named_tensors(after, "next").values()


class _Clip(nn.Module):
    def __init__(self, model: Cake) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips_BCTHW: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        found = self.model.clip(clips_BCTHW)
        features_BF = torch.cat([found.static_BD, found.motion_BD], dim=1)
        scores_BK, hidden_BH = self.model.head.step(features_BF, states[0])
        return scores_BK, found.static_BD, found.motion_BD, hidden_BH


class _OneStepGRU(nn.Module):
    """Computes one step of an `nn.GRU`. The exporter would turn `nn.GRU` itself into a loop, and warn."""

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__()
        self.cell = nn.GRUCell(gru.input_size, gru.hidden_size)
        self.cell.load_state_dict({name.removesuffix("_l0"): tensor for name, tensor in gru.state_dict().items()})

    def forward(self, x_B1E: Tensor, hidden_1BH: Tensor) -> tuple[Tensor, Tensor]:
        hidden_BH = self.cell(x_B1E[:, 0], hidden_1BH[0])
        return hidden_BH[:, None], hidden_BH[None]


def graphs_of(model: Cake) -> dict[str, Graph]:
    """The graphs by file name: `step`, and `clip` with the head's step on the clip's features."""
    model = model.eval()
    size, step = model.config.image_size, _Step(model)
    hidden = {"state.hidden_BH": model.head.fresh(_EXAMPLE_STREAMS)}
    clip_shape = (3, model.config.trunk.window_steps, size, size)
    return {
        "step": Graph(step, "frames", (3, size, size), ("scores",), _named_tensors(step.fresh, "state")),
        "clip": Graph(_Clip(model), "clips", clip_shape, ("scores", "static", "motion"), hidden),
    }


def metadata_of(model: Cake, version: str) -> dict[str, str]:
    """The metadata of the graphs, each value as JSON."""
    config = model.config
    values = {
        "model": config.name,
        "version": version,
        "labels": config.labels,
        "sample_hz": config.sample_hz,
        "image_size": config.image_size,
        "colours": "RGB",
        "normalisation": {"divide_by": 255, "mean": MEAN, "std": STD},
        "start_rules": config.to_json()["start_rules"],
    }
    return {name: json.dumps(value) for name, value in values.items()}


@torch.no_grad()
def write_graph(graph: Graph, path: Path, metadata: Mapping[str, str]) -> None:
    """Export a graph to ONNX, with `metadata` stored in the file. The number of streams stays variable."""
    streams = torch.export.Dim("streams", min=1)
    arguments = (torch.zeros(_EXAMPLE_STREAMS, *graph.input_shape), tuple(graph.states.values()))
    module = copy.deepcopy(graph.module).eval()
    head = module.get_submodule("model.head")
    assert isinstance(head, Head)
    head.register_module("gru", _OneStepGRU(head.gru))
    with _expected_warnings():
        program = torch.onnx.export(
            module,
            arguments,
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: streams}, tuple({0: streams} for _ in graph.states)),
            input_names=[graph.input_name, *graph.states],
            output_names=[*graph.outputs, *_next_names(graph)],
        )
    assert program is not None
    program.model.metadata_props.update(metadata)
    program.save(path)


@torch.inference_mode()
def compare(graph: Graph, path: Path, calls: int = 40) -> Agreement:
    """Run the graph and torch side by side on random images, each on its own states, with one stream and with three.

    Raises `GraphMismatchError` when they differ by more than `TOLERANCE`.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    rng, worst, seconds = np.random.default_rng(0), 0.0, np.zeros((2, calls))
    for streams in (3, 1):
        states = tuple(state.new_zeros(streams, *state.shape[1:]) for state in graph.states.values())
        found_states = dict(zip(graph.states, (state.numpy() for state in states), strict=True))
        for call in range(calls):
            images = _images(rng, (streams, *graph.input_shape))
            began = time.perf_counter()
            expected = graph.module(torch.from_numpy(images), states)
            between = time.perf_counter()
            found = session.run(None, {graph.input_name: images, **found_states})
            seconds[:, call] = between - began, time.perf_counter() - between
            worst = max(worst, *(_difference(a, b.numpy()) for a, b in zip(found, expected, strict=True)))
            states = expected[len(graph.outputs) :]
            found_states = dict(zip(graph.states, found[len(graph.outputs) :], strict=True))
    if not worst <= TOLERANCE:
        raise GraphMismatchError(f"{path.name} differs from torch by {worst:.1e}, more than {TOLERANCE:g}: not written")
    return Agreement(worst, *np.median(seconds, axis=1))


def _next_names(graph: Graph) -> list[str]:
    return [name.replace("state.", "next.", 1) for name in graph.states]


def _named_tensors(state: object, prefix: str) -> dict[str, Tensor]:
    """The tensors of nested dataclasses and tuples by path, without those that are empty for every stream."""
    return dict(_walk(state, prefix))


def _walk(state: object, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(state, Tensor):
        if 0 not in state.shape[1:]:
            yield path, state
    elif isinstance(state, tuple):
        for index, item in enumerate(state):
            yield from _walk(item, f"{path}.{index}")
    elif is_dataclass(state):
        for field in fields(state):
            yield from _walk(getattr(state, field.name), f"{path}.{field.name}")


def _images(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Images of coarse random patches, normalised: unlike fine noise, pooling does not average them away."""
    coarse = rng.integers(0, 256, (*shape[:-2], -(-shape[-2] // 8), -(-shape[-1] // 8)))
    pixels = coarse.repeat(8, axis=-2).repeat(8, axis=-1)[..., : shape[-2], : shape[-1]]
    return ((pixels / 255 - MEAN) / STD).astype(np.float32)


def _difference(found: NDArray[np.generic], expected: NDArray[np.generic]) -> float:
    a, b = found.astype(np.float64), expected.astype(np.float64)
    return float(np.abs(a - b).max() / max(1.0, np.abs(b).max()))


@contextmanager
def _expected_warnings() -> Iterator[None]:
    """Silence warnings of the exporter about itself: that it calls a deprecated function, that torchvision is missing,
    and that the streams of all inputs are one dimension, as they must be.
    """
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
            warnings.filterwarnings("ignore", message="# The axis name: streams will not be used", category=UserWarning)
            yield
    finally:
        registration.setLevel(level)
