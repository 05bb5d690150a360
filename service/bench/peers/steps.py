"""One step of the causal network by ONNX Runtime, from the graph that `cake models export` writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.checkpoints.export import graphs_of, write_graph
from model.network.cake import Cake
from model.video.preprocess import normalise


def write_step_graph(model: Cake, path: Path) -> None:
    """Export one step of the network to ONNX."""
    write_graph(graphs_of(model)["step"], path, {})


def onnx_stepper(model: Cake, path: Path, images_BHWC: NDArray[np.uint8]) -> Callable[[], object]:
    """One step with a stream for each image, by ONNX Runtime on one thread; `path` is the exported graph.

    Raises ModuleNotFoundError without `onnxruntime`.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    frames, *states = (one.name for one in session.get_inputs())
    scores, *after = (one.name for one in session.get_outputs())
    fresh = graphs_of(model)["step"].states
    held = {name: np.zeros((len(images_BHWC), *fresh[name].shape[1:]), fresh[name].numpy().dtype) for name in states}

    def step() -> object:
        found, *values = session.run([scores, *after], {frames: normalise(images_BHWC), **held})
        held.update(zip(states, values, strict=True))
        return found

    return step
