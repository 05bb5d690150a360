"""`cake eval`: measure a model on labelled videos, feature folders or lists of clips."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from model.commands.progress import show_progress
from model.commands.terminal import (
    CPUS,
    SkipInvalid,
    check_subsets,
    failing_clearly,
    reject_unused,
    report_failures,
    require,
)
from model.config import Precision
from model.cpus import use_one_thread

if TYPE_CHECKING:
    from model.detector import Detector
    from model.training.evaluation.centred_clips import CentredClips
    from model.training.evaluation.clip_report import ClipReport
    from model.training.evaluation.evaluate import EvaluationReport
    from model.training.evaluation.thirty_views import ThirtyViewsReport
    from model.training.evaluation.video_ranking import VideoRankingReport
    from model.training.progress import Progress

    Report = EvaluationReport | ClipReport | ThirtyViewsReport | VideoRankingReport

EvaluationMode = Literal["causal", "clip", "centred-clip"]
_Subset = Annotated[
    list[str] | None,
    typer.Option(help="training, validation or testing; may be repeated. Default: all videos; of features, testing."),
]
_CliffDiving = Annotated[
    bool, typer.Option("--cliff-diving", help="THUMOS'14: also count cliff diving as diving.")
]  # fmt: skip
_Rgb = Annotated[str | None, typer.Option(help="Which rgb_* folder to use; `none` for none.")]
_Flow = Annotated[str | None, typer.Option(help="Which flow_* folder to use; `none` for none.")]
_Classes = Annotated[Path | None, typer.Option(help="List of clips: file of class names.")]
_Root = Annotated[Path | None, typer.Option(help="List of clips: folder to which its paths are relative.")]
_ThirtyViews = Annotated[
    bool,
    typer.Option(
        "--thirty-views",
        help="List of clips: measure an imported student's own classifiers on 10 x 3 views of each video.",
    ),
]
_ByVideo = Annotated[
    bool,
    typer.Option(
        "--by-video",
        help="Instead, judge each video as a whole: how well its highest score predicts whether it shows an action, "
        "and whether a start is reported.",
    ),
]
_Precision = Annotated[
    Precision, typer.Option(help="auto: as the server does, in bfloat16 if the processor supports it.")
]
_Mode = Annotated[
    EvaluationMode | None,
    typer.Option(
        help="causal or clip: as a server runs the model. centred-clip: as the paper measures it, from clips around "
        "each frame, which look 6 frames ahead. Default: as the checkpoint says.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class _Measurement:
    """The command's options: what to measure, and how."""

    data: Path
    model: str
    frames_dir: Path
    subsets: Sequence[str] | None
    cliff_diving: bool
    rgb: str | None
    flow: str | None
    classes: Path | None
    root: Path | None
    thirty_views: bool
    precision: Precision
    mode: EvaluationMode | None
    by_video: bool
    processes: int
    skip_invalid: bool

    def run(self, progress: Progress) -> tuple[Report, Mapping[str, str]]:
        """The report, and the videos that do not decode, with the reason."""
        from model.training.evaluation.measure import Layout, layout_of

        layout = layout_of(self.data)
        of_streams = {"--subset": self.subsets, "--cliff-diving": self.cliff_diving, "--by-video": self.by_video}
        of_features = {"--rgb": self.rgb, "--flow": self.flow}
        of_clips = {"--classes": self.classes, "--root": self.root, "--thirty-views": self.thirty_views}
        match layout:
            case Layout.CLIPS:
                mode = self.mode == "centred-clip" or (self.thirty_views and self.mode)
                reject_unused(self.data, layout.value, {**of_streams, **of_features, f"--mode {self.mode}": mode})
                return self._of_views(progress) if self.thirty_views else self._of_clips(progress)
            case Layout.FEATURES:
                unused = {**of_clips, "--mode": self.mode, "--by-video": self.by_video}
                reject_unused(self.data, layout.value, unused)
                return self._of_features(progress), {}
            case Layout.VIDEOS:
                reject_unused(self.data, layout.value, {**of_features, **of_clips})
                return self._by_video(progress) if self.by_video else self._of_videos(progress)

    def _of_views(self, progress: Progress) -> tuple[Report, Mapping[str, str]]:
        from model.training.evaluation.thirty_views import measure_thirty_views

        return measure_thirty_views(self.model, self.data, root=self.root, class_file=self.classes, progress=progress)

    def _of_clips(self, progress: Progress) -> tuple[Report, Mapping[str, str]]:
        from model.detector import Detector
        from model.training.evaluation.measure import measure_clips

        mode = None if self.mode == "centred-clip" else self.mode
        detector = Detector.load(self.model, precision=self.precision, mode=mode)
        options = {"root": self.root, "class_file": self.classes}
        return measure_clips(
            detector, self.data, self.frames_dir, **options, processes=self.processes, progress=progress
        )

    def _of_features(self, progress: Progress) -> Report:
        from model.training.evaluation.measure import measure_features

        return measure_features(
            self.model,
            self.data,
            subsets=self.subsets or ("testing",),
            rgb=self.rgb,
            flow=self.flow,
            cliff_diving_is_diving=self.cliff_diving,
            progress=progress,
        )

    def _of_videos(self, progress: Progress) -> tuple[Report, Mapping[str, str]]:
        from model.training.evaluation.measure import measure_videos

        return measure_videos(
            *(self._detector(), self.data, self.frames_dir),
            subsets=self._subsets(),
            cliff_diving_is_diving=self.cliff_diving,
            processes=self.processes,
            progress=progress,
            skip_invalid=self.skip_invalid,
        )

    def _by_video(self, progress: Progress) -> tuple[Report, Mapping[str, str]]:
        from model.training.evaluation.measure import score_annotated
        from model.training.evaluation.video_ranking import rank_videos

        if self.cliff_diving:
            raise ValueError("--cliff-diving has no effect on --by-video; leave it out")
        detector = self._detector()
        streams, failures = score_annotated(
            *(detector, self.data, self.frames_dir),
            subsets=self._subsets(),
            processes=self.processes,
            progress=progress,
            skip_invalid=self.skip_invalid,
        )
        return rank_videos(streams, detector.config), failures

    def _subsets(self) -> Sequence[str]:
        from model.training.layouts.annotations import SUBSETS

        return self.subsets or SUBSETS

    def _detector(self) -> Detector | CentredClips:
        from model.checkpoints.checkpoint import load_checkpoint
        from model.detector import Detector
        from model.training.evaluation.centred_clips import CentredClips

        if self.mode == "centred-clip":
            return CentredClips(load_checkpoint(self.model)[0])
        return Detector.load(self.model, precision=self.precision, mode=self.mode)


def evaluate_command(
    data: Annotated[Path, typer.Option(help="Folder of videos, folder of features, or list of clips; see above.")],
    model: Annotated[str, typer.Option(help="Name of a shipped model, or a checkpoint folder.")],
    cache: Annotated[Path | None, typer.Option(help="Keep decoded frames in this folder for later runs.")] = None,
    subset: _Subset = None,
    cliff_diving: _CliffDiving = False,
    rgb: _Rgb = None,
    flow: _Flow = None,
    classes: _Classes = None,
    root: _Root = None,
    thirty_views: _ThirtyViews = False,
    precision: _Precision = "float32",
    mode: _Mode = None,
    by_video: _ByVideo = False,
    processes: Annotated[int, typer.Option(min=1, help="Decoding processes.")] = CPUS,
    skip_invalid: SkipInvalid = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Measure a model: frame mAP, calibrated mAP, start mAP, delay and false starts, or the accuracy on clips.

    --data is one of these:

    A folder with videos/ and annotations.json in ActivityNet's format, or
    annotations/ with the text files of THUMOS'14 (CLASS_val.txt,
    CLASS_test.txt) or TVSeries (GT-train.txt, GT-val.txt, GT-test.txt).

    A folder with rgb_*/, flow_*/, target_perframe/ and session lists, the
    usual layout of THUMOS'14 and TVSeries; the model's head runs on the features.

    A text file with a line 'path label' per clip, as for Kinetics.
    """
    require("eval", "torch", "PyTorch")
    from model.checkpoints.folders import CheckpointNotFoundError

    use_one_thread()
    with failing_clearly(CheckpointNotFoundError), show_progress() as progress, TemporaryDirectory() as scratch:
        check_subsets(subset)
        result, failures = _Measurement(
            *(data, model, cache or Path(scratch), subset, cliff_diving, rgb, flow, classes, root, thirty_views),
            *(precision, mode, by_video, processes, skip_invalid),
        ).run(progress)
    report_failures(failures)
    typer.echo(json.dumps(result.to_json()) if as_json else result.table())
