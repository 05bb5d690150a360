"""A real, tiny detector with random weights for the tests of the service, and start rules under which it fires."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoints.checkpoint import save_checkpoint
from model.compiled.graph_files import GraphFiles
from model.config import BACKGROUND, HeadConfig, ModelConfig, StartRule, TrunkConfig
from model.detector import Detector
from model.network.cake import Cake
from model.video.file_reader import open_video
from model.video.preprocess import FrameInput, Framing, normalise

LABELS = (BACKGROUND, "kick", "punch")
SAMPLE_HZ = 10.0
SIZE = 32
WHOLE_FRAME = FrameInput(SIZE, "stretch")


def tiny_model(name: str = "tiny", framing: Framing = "stretch") -> Cake:
    """About a millisecond a step."""
    torch.manual_seed(3)
    trunk = TrunkConfig(
        stem_kernel=3, stem_stride=4, stem_taps=3, stem_width=8, widths=(8, 16), depths=(1, 1), strides=(2, 2)
    )
    head = HeadConfig(projection_width=16, feature_dim=16, pool_steps=3, fused_dim=16, hidden_dim=16)
    config = ModelConfig(
        name=name, labels=LABELS, sample_hz=SAMPLE_HZ, image_size=SIZE, framing=framing, trunk=trunk, head=head
    )
    return Cake(config).eval()


def checkpoint_for(video: Path, folder: Path, name: str = "tiny", framing: Framing = "stretch") -> Path:
    """A checkpoint whose scores swing between 0 and 1 in this video, so that it announces starts and ends in it."""
    model = tiny_model(name, framing)
    frames_THWC = frames_of(video, model.config.frame_input)
    x_BTCHW = torch.from_numpy(normalise(frames_THWC))[None]
    model.train()
    with torch.no_grad():
        # The norms take their statistics from the video; otherwise random features hardly depend on it.
        for _ in range(20):
            model.sequence(x_BTCHW)
        model.eval()
        logits_TK = model.sequence(x_BTCHW)[0, 20:]
        spread_K = logits_TK.std(0) / 3
        model.head.classify.weight.div_(spread_K[:, None])
        model.head.classify.bias.sub_(logits_TK.median(0).values).div_(spread_K)
    rules = {label: StartRule(enter=0.6, leave=0.4, refractory_s=0.2) for label in LABELS if label != BACKGROUND}
    save_checkpoint(folder / name, model, replace(model.config, start_rules=rules))
    return folder / name


def load(checkpoint: Path) -> Detector:
    """Its graphs are compiled once, for all tests that use this checkpoint."""
    return Detector.load(checkpoint, graphs=kept_graphs(checkpoint))


def kept_graphs(checkpoint: Path) -> GraphFiles:
    """In a folder next to the checkpoint."""
    return GraphFiles(checkpoint.parent / "graphs")


def frames_of(video: Path, frame_input: FrameInput = WHOLE_FRAME) -> NDArray[np.uint8]:
    """(T, H, W, C): the frames that the service would analyse."""
    with open_video(video) as opened:
        return np.stack([frame.image for frame in opened.frames(SAMPLE_HZ, frame_input)])
