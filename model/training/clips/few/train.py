"""Makes a checkpoint that the server loads from a few clips, with a report of the expected results.

DIR/features/                       what the frozen network makes of each clip, kept for later runs
DIR/model.safetensors, model.json   the model: background and the new action
DIR/expected.json                   the report

Shapes: N clips, T frames.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.atomic import write_text_atomically
from model.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from model.config import BACKGROUND, SETTLE_S
from model.metrics import Bools
from model.network.cake import Cake
from model.training.clips.few.classifier import Classifier, Rows, encode, fit, make_rows
from model.training.clips.few.estimate import estimate
from model.training.clips.few.features import FrozenClip, FrozenNetwork, extract
from model.training.clips.few.material import FewClips, check_contradictions, check_counts
from model.training.clips.few.report import FewClipReport, warnings
from model.training.clips.few.similar import places, twins
from model.training.clips.finetune import new_labels
from model.training.layouts.annotations import DataError
from model.training.progress import Progress

_MOST_FITS = 40
"""The most fits for leaving out clips in turn; with more clips, several are left out together."""


@dataclass(frozen=True)
class FewClipResult:
    """The report, and the clips that do not decode, with the reason; they are left out."""

    report: FewClipReport
    failures: dict[str, str]


def train_on_few_clips(few: FewClips, begin: str, out_dir: Path, *, seed: int = 0, progress: Progress) -> FewClipResult:
    """Write the checkpoint and the report into `out_dir`.

    Args:
        begin: name or folder of the model whose frozen network is used.

    Raises:
        DataError: too few clips decode, or one video is of both kinds.
        CheckpointNotFoundError, CheckpointError: there is no such model, or it is not whole.
    """
    check_contradictions(few)
    source, version = load_checkpoint(begin)
    progress.on_stage(f"looking at {len(few.clips)} clips")
    frozen = FrozenNetwork(source, version, seed)
    extracted, failures = extract(few.clips, frozen, out_dir / "features", progress)
    check_counts(few, [clip is not None for clip in extracted])
    seen = [(i, clip) for i, clip in enumerate(extracted) if clip is not None]
    paths, clips = [few.clips[i].path for i, _ in seen], [clip for _, clip in seen]
    positive_N = np.array([few.positive(i) for i, _ in seen])
    progress.on_stage("leaving clips out in turn")
    rows = make_rows(source.head, clips, np.random.default_rng(seed))
    settle_frames = round(SETTLE_S * source.config.sample_hz)
    twin_N = twins(clips, positive_N)
    _check_variety(few.label, twin_N, positive_N)
    scores = left_out_scores(source, clips, rows, positive_N, twin_N, settle_frames, progress)
    expected, rule = estimate(scores, positive_N, source.config.sample_hz)
    network = with_classifier(source, few.label, fit(rows, positive_N))
    settled = replace(network.config, settle_s=SETTLE_S, mode="causal")
    config = settled.with_calibrated_rules({few.label: rule}, source.config.candidate_rule)
    save_checkpoint(out_dir, network, config)
    said = warnings(few.label, paths, clips, positive_N, (twin_N, places(clips)), expected, config)
    report = FewClipReport(few.label, int(positive_N.sum()), int((~positive_N).sum()), expected, rule, said)
    write_text_atomically(out_dir / "expected.json", json.dumps(report.to_json(), indent=2) + "\n")
    return FewClipResult(report, dict(failures))


def _check_variety(label: str, twin_N: NDArray[np.intp], positive_N: Bools) -> None:
    for shown, kind in ((True, f"with {label!r}"), (False, f"without {label!r}")):
        if len(np.unique(twin_N[positive_N == shown])) == 1:
            raise DataError(f"all clips {kind} are nearly the same; add clips of other occasions")


def left_out_scores(
    source: Cake,
    clips: Sequence[FrozenClip],
    rows: Rows,
    positive_N: Bools,
    twin_N: NDArray[np.intp],
    settle_frames: int,
    progress: Progress,
) -> list[NDArray[np.float32]]:
    """The scores (T,) of each clip as it is served, by a classifier that was trained neither on it nor on its twins."""
    scores: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(clips)
    turn_N = np.unique(twin_N, return_inverse=True)[1] % _MOST_FITS
    for turn in range(int(turn_N.max()) + 1):
        left_out = np.flatnonzero(turn_N == turn).tolist()
        classifier = fit(rows, positive_N, left_out)
        for index in left_out:
            scores[index] = score_clip(source, classifier, clips[index], settle_frames)
        progress.on_item(turn + 1, int(turn_N.max()) + 1)
    return scores


def score_clip(source: Cake, classifier: Classifier, clip: FrozenClip, settle_frames: int) -> NDArray[np.float32]:
    """The action's score in each frame (T,) of a clip as it is served, 0 while a stream settles."""
    scores_T = classifier.score(encode(source.head, clip.served_TF[None])[0])
    scores_T[:settle_frames] = 0
    return scores_T


def with_classifier(source: Cake, label: str, classifier: Classifier) -> Cake:
    """The network with this classifier as its last layer."""
    network = new_labels(source, (BACKGROUND, label), source.config.name, source.config.head.dropout)
    with torch.no_grad():
        network.head.classify.weight.zero_()
        network.head.classify.bias.zero_()
        network.head.classify.weight[1] = torch.from_numpy(classifier.weight_E)
        network.head.classify.bias[1] = classifier.bias
    return network.eval()
