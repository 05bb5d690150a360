"""The last maps of frozen trunks for fixed views of every video, computed once: the later stages take minutes.

Shapes: V views, T frames, C channels, H and W of the map, P cached pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.atomic import write_atomically
from model.config import TrunkConfig
from model.cpus import use_one_thread
from model.network.cake import time_major
from model.network.x3d import Trunk
from model.training.layouts.annotations import LabelledVideo
from model.training.pool import results_of
from model.training.progress import Progress
from model.training.run import Run
from model.training.views import View, draw_view, see_images

Maps = NDArray[np.float16]
CHUNK_STEPS = 512


@dataclass(frozen=True)
class MapSource:
    """The network whose maps are computed: `load` creates the trunk, `images` gives the file of a video's frames
    or flow.
    """

    name: str
    load: Callable[[Run], Trunk]
    images: Callable[[LabelledVideo], Path]


def views_of(run: Run, video: LabelledVideo) -> list[View]:
    """The whole image as it is served and, for training videos, random views."""
    if video.subset != "training":
        return [View(None)]
    seed = int.from_bytes(video.name.encode()[-8:], "big")
    rng = np.random.default_rng((run.recipe.seed, seed))
    return [View(None), *(draw_view(rng, flip_share=run.recipe.flip_share) for _ in range(run.recipe.views - 1))]


def maps_path(run: Run, source_name: str, video: LabelledVideo) -> Path:
    """The file of one source's maps of all views of a video."""
    return run.cache_dir / "maps" / f"{run.frames.path(video).stem}.{source_name}.npy"


def load_maps(run: Run, source_name: str, video: LabelledVideo) -> Maps:
    """(V, T, C, H, W), memory-mapped."""
    maps: Maps = np.load(maps_path(run, source_name, video), mmap_mode="r")
    return maps


def cache_maps(run: Run, source: MapSource, videos: Sequence[LabelledVideo], progress: Progress) -> None:
    """Compute and cache the maps. Existing files are kept."""
    missing = [video for video in videos if not maps_path(run, source.name, video).is_file()]
    progress.on_stage(f"maps of the {source.name} for {len(missing)} videos")
    (run.cache_dir / "maps").mkdir(parents=True, exist_ok=True)
    written = results_of(partial(_write_maps, run, source), missing, run.placement.processes)
    for done, _ in enumerate(written, start=1):
        progress.on_item(done, len(missing))


def _write_maps(run: Run, source: MapSource, video: LabelledVideo) -> None:
    if run.placement.device == "cpu":
        use_one_thread()
    trunk = source.load(run).eval().to(run.placement.device)
    images_TPPC = np.load(source.images(video), mmap_mode="r")
    maps_VTCHW = np.stack([trunk_maps(trunk, images_TPPC, view) for view in views_of(run, video)])
    path = maps_path(run, source.name, video)
    with write_atomically(path) as partial_path:
        np.save(partial_path, maps_VTCHW)


@torch.inference_mode()
def trunk_maps(trunk: Trunk, images_TPPC: NDArray[Any], view: View, chunk_steps: int = CHUNK_STEPS) -> Maps:
    """The causal trunk's last map of every frame (T, C, H, W), in chunks of bounded memory."""
    context = past_steps(trunk.config)
    device = next(trunk.parameters()).device
    chunks: list[Maps] = []
    for first in range(0, len(images_TPPC), chunk_steps):
        begin = max(0, first - context)
        x_TCSS = torch.from_numpy(see_images(images_TPPC[begin : first + chunk_steps], view)).to(device)
        *_, maps_TCHW = trunk.sequence_maps(time_major(x_TCSS[None]), streams=1)
        chunks.append(maps_TCHW[first - begin :].half().cpu().numpy())
    return np.concatenate(chunks)


def past_steps(config: TrunkConfig) -> int:
    """How many earlier frames contribute to the map of a frame."""
    squeezes = sum(-(-depth // 2) for depth in config.depths)
    difference = 1 if config.frame_difference else 0
    return difference + config.stem_taps - 1 + 2 * sum(config.depths) + squeezes * (config.window_steps - 1)
