"""How accuracy grows with the number of clips, measured on clips from other cameras than those used for training.

    python -m model.training.clips.few.learning_curve --clips LIST --label fight --from mocap --out DIR

For each number and each draw, blocks of clips are set aside for the test, and as many clips of each kind are drawn from
the other blocks. Three methods learn from the same clips: the classifier of `cake train clips --label`, logistic
regression on motion statistics, and, with `--scratch-steps`, a network that starts from random weights. A clip's score
is the highest score of its frames, as in `cake eval --by-video`. Prints a line of JSON for each number of clips.

Shapes: N clips, F statistics.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from model.architectures import cake_xs
from model.checkpoints.checkpoint import load_checkpoint
from model.config import BACKGROUND, SETTLE_S
from model.cpus import use_one_thread
from model.metrics import Bools, Floats
from model.network.cake import Cake
from model.training.clips.end_to_end import EndToEndObjective, EndToEndRecipe
from model.training.clips.few.classifier import fit, make_rows
from model.training.clips.few.features import FrozenClip, FrozenNetwork, extract
from model.training.clips.few.material import clips_of_list
from model.training.clips.few.train import score_clip
from model.training.clips.motion_baseline import baseline_scores, motion_statistics
from model.training.frame_cache import FrameCache
from model.training.layouts.annotations import DataError, LabelledVideo
from model.training.layouts.blocks import block_of
from model.training.loop import Stage, load_network, run_stage
from model.training.placement import Placement
from model.training.progress import Progress
from model.video.preprocess import normalise

Indices = NDArray[np.intp]
Method = Callable[[Indices, Indices, int], Floats]
"""Maps the clips to learn from, the clips to score and a seed to the scores of the latter."""


@dataclass(frozen=True)
class Draw:
    """Indices of clips; training and test clips are from different blocks."""

    learned: Indices
    tested: Indices


def draw_clips(positive_N: Bools, block_N: Indices, count: int, seed: int) -> Draw:
    """Draw `count` clips of each kind for training, and all clips of up to half of the blocks for the test, as many as
    leave enough.

    Raises DataError if even all blocks but one hold fewer clips of a kind.
    """
    rng = np.random.default_rng(seed)
    learnable_N = np.ones(len(positive_N), bool)
    blocks, tested = rng.permutation(np.unique(block_N)), 0
    for block in blocks:
        left_N = learnable_N & (block_N != block)
        if tested < len(blocks) // 2 and min((left_N & positive_N).sum(), (left_N & ~positive_N).sum()) >= count:
            learnable_N, tested = left_N, tested + 1
    if not tested:
        raise DataError(f"{count} clips of each kind leave no block for the test")
    kinds = (np.flatnonzero(learnable_N & (positive_N == kind)) for kind in (False, True))
    learned = np.concatenate([rng.permutation(members)[:count] for members in kinds])
    return Draw(learned, np.flatnonzero(~learnable_N))


def learning_curve(
    methods: dict[str, Method], positive_N: Bools, block_N: Indices, counts: Sequence[int], draws: int
) -> Iterator[dict[str, object]]:
    """For each count, the area under the ROC curve of each method in each draw, and their mean."""
    for count in counts:
        areas: dict[str, list[float]] = {name: [] for name in methods}
        for seed in range(draws):
            draw = draw_clips(positive_N, block_N, count, seed)
            for name, method in methods.items():
                scores = method(draw.learned, draw.tested, seed)
                areas[name].append(float(roc_auc_score(positive_N[draw.tested], scores)))
        yield {"clips": count, **{f"{name} mean": float(np.mean(each)) for name, each in areas.items()}, **areas}


def few_clip_method(source: Cake, clips: Sequence[FrozenClip], positive_N: Bools) -> Method:
    """The classifier of `cake train clips --label`."""
    settle_frames = round(SETTLE_S * source.config.sample_hz)

    def scores(learned: Indices, tested: Indices, seed: int) -> Floats:
        rows = make_rows(source.head, [clips[i] for i in learned], np.random.default_rng(seed))
        classifier = fit(rows, positive_N[learned])
        return np.array([score_clip(source, classifier, clips[i], settle_frames).max() for i in tested])

    return scores


def motion_method(statistics_NF: Floats, positive_N: Bools) -> Method:
    """Logistic regression on motion statistics."""
    return lambda learned, tested, seed: baseline_scores(
        statistics_NF[learned], positive_N[learned], statistics_NF[tested]
    )


def scratch_method(
    frames: FrameCache, videos: Sequence[LabelledVideo], positive_N: Bools, recipe: EndToEndRecipe, folder: Path
) -> Method:
    """A complete `cake-xs` network that starts from random weights, trained like `cake train end-to-end`."""
    config = replace(cake_xs((BACKGROUND, "action")), image_size=frames.size, framing=frames.framing)
    settle_frames = round(SETTLE_S * config.sample_hz)

    def scores(learned: Indices, tested: Indices, seed: int) -> Floats:
        torch.manual_seed(seed)
        network = Cake(config)
        clips = [(videos[i], int(positive_N[i])) for i in learned]
        name = f"{len(clips)}-{seed}"
        stage = Stage(name, folder / name, recipe.schedule, seed, {"clips": [video.name for video, _ in clips]})
        make = partial(EndToEndObjective, network, frames, clips, recipe, recipe.sequences)
        run_stage(stage, make, Placement("cpu", 1, 0, False), lambda done, total, loss: None)
        load_network(stage, network, prefix="average.")
        network.eval()
        with torch.inference_mode():
            logits = [
                network.sequence(torch.from_numpy(normalise(frames.load(videos[i]).images_TSS3))[None])[0]
                for i in tested
            ]
        return np.array([float(logit_TK[settle_frames:].softmax(1)[:, 1].max()) for logit_TK in logits])

    return scores


def main(
    clips: Annotated[Path, typer.Option(help="Text file with a line 'path label' per clip.")],
    label: Annotated[str, typer.Option(help="Label of the action; all other clips do not show it.")],
    out: Annotated[Path, typer.Option(help="Folder for features, frames and networks, kept for later runs.")],
    begin: Annotated[str, typer.Option("--from", help="Model name or checkpoint folder.")],
    counts: Annotated[str, typer.Option(help="Clips of each kind.")] = "5,10,20,50,100",
    draws: Annotated[int, typer.Option(min=1, help="Random draws for each number of clips.")] = 5,
    block_size: Annotated[int, typer.Option(min=1, help="As in `cake train clips`.")] = 10,
    scratch_steps: Annotated[int, typer.Option(min=0, help="Training steps from scratch; 0: leave it out.")] = 0,
) -> None:
    """Print a learning curve, a line of JSON for each number of clips."""
    use_one_thread()
    few = clips_of_list(label, clips, None)
    source, version = load_checkpoint(begin)
    show = partial(typer.echo, err=True)
    progress = Progress(show, lambda done, total: None, lambda done, total, loss: None, show)
    extracted, failures = extract(few.clips, FrozenNetwork(source, version), out / "features", progress)
    if failures:
        raise DataError(f"{len(failures)} clips do not decode: {', '.join(failures)}")
    features = [clip for clip in extracted if clip is not None]
    positive_N = np.array([few.positive(i) for i in range(len(features))])
    block_N = np.array([block_of(clip.path, block_size) for clip in few.clips])
    frames = FrameCache.as_served(out / "frames", source.config)
    videos = [LabelledVideo(f"{i:04d}-{clip.path.stem}", clip.path, "testing", ()) for i, clip in enumerate(few.clips)]
    frames.fill(videos, 1, progress)
    statistics_NF = np.stack([motion_statistics(frames.load(video).images_TSS3) for video in videos])
    methods = {
        "few clips": few_clip_method(source, features, positive_N),
        "motion statistics": motion_method(statistics_NF, positive_N),
    }
    if scratch_steps:
        recipe = EndToEndRecipe(replace(EndToEndRecipe().schedule, steps=scratch_steps), sequences=8)
        methods["from scratch"] = scratch_method(frames, videos, positive_N, recipe, out / "scratch")
    for line in learning_curve(methods, positive_N, block_N, [int(count) for count in counts.split(",")], draws):
        typer.echo(json.dumps(line))


if __name__ == "__main__":
    typer.run(main)
