"""`cake eval` on feature folders and on lists of clips."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from model.checkpoints.checkpoint import save_checkpoint
from model.config import BACKGROUND, StartRule
from model.network.cake import Cake
from model.training.evaluation.clip_report import clip_scores, evaluate_clips
from model.training.evaluation.evaluate import evaluate
from model.training.evaluation.measure import Layout, layout_of, score_features, segments_of
from model.training.evaluation.scores import StreamScores
from model.training.layouts.annotations import DataError
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.layouts.segments import frame_labels
from service.cli.main import app
from tests.support.layout_kit import ACTIONS, read_all, write_clips, write_thumos
from tests.support.paths import GOLDEN
from tests.support.tiny_model import LABELS, tiny_model

GOLDEN_FILE = GOLDEN / "metrics.npz"


@pytest.fixture
def thumos(tmp_path: Path) -> Path:
    return write_thumos(tmp_path)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return write_clips(tmp_path)


def test_the_layout_is_detected_from_the_files(thumos: Path, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "annotated").mkdir()
    (tmp_path / "annotated" / "annotations.json").touch()
    assert [layout_of(p) for p in (thumos, clips, tmp_path / "annotated")] == [
        Layout.FEATURES,
        Layout.CLIPS,
        Layout.VIDEOS,
    ]
    with pytest.raises(DataError, match=r"no data set; expected .*videos/ .*rgb_\*/.* 'path label'"):
        layout_of(tmp_path)
    with pytest.raises(DataError, match=r"nowhere: not there; expected"):
        layout_of(tmp_path / "nowhere")


targets = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=40)


@given(targets, st.sampled_from([4.0, 10.0, 29.97]))
def test_segments_of_a_sequence_cover_exactly_the_frames_of_its_targets(
    rows: list[list[bool]], feature_hz: float
) -> None:
    marked_T3 = np.array(rows)
    target_TK = np.column_stack([~marked_T3.any(axis=1), marked_T3[:, :2]]).astype(np.float32)
    nothing_TD, pts_s_T = np.zeros((len(rows), 1), np.float32), np.arange(len(rows)) / feature_hz
    sequence = FeatureSequence(
        "made", nothing_TD, nothing_TD, frame_labels(target_TK, marked_T3[:, 2], pts_s_T), pts_s_T
    )
    stream = StreamScores("made", pts_s_T, target_TK, segments_of(sequence, (BACKGROUND, "a", "b")))
    covered_T3 = np.column_stack([stream.covered(label) for label in ("a", "b", "ambiguous")])
    np.testing.assert_array_equal(covered_T3, marked_T3)


def test_the_report_of_stored_targets_and_scores_equals_the_reference() -> None:
    with np.load(GOLDEN_FILE) as golden:
        target_TC = np.unpackbits(golden["targets_bits"], axis=0)
        labels = (BACKGROUND, *(f"action {k}" for k in range(1, 21)))
        nothing_TD = np.zeros((len(target_TC), 1), np.float32)
        pts_s_T = np.arange(len(target_TC)) / 4
        truth = frame_labels(target_TC[:, :21].astype(np.float32), target_TC[:, 21] == 1, pts_s_T)
        sequence = FeatureSequence("golden", nothing_TD, nothing_TD, truth, pts_s_T)
        scores_TK = golden["scores_e4"][:, :21] / 1e4
        stream = StreamScores("golden", sequence.pts_s_T, scores_TK, segments_of(sequence, labels))
        report = evaluate([stream], labels, {}, StartRule(0.9, 0.8))
        assert report.frame_map == pytest.approx(float(golden["thumos_mean_ap"]), abs=1e-9)
        assert report.frame_cmap == pytest.approx(float(golden["mean_cap"]), abs=1e-6)
        np.testing.assert_allclose(np.array(report.stage_cmap, float), golden["stage_mean_cap"], rtol=0, atol=2e-5)


def test_a_clip_is_scored_by_the_mean_after_the_warm_up_or_by_its_last_frame() -> None:
    scores_TK = np.arange(8.0).reshape(4, 2)
    assert clip_scores(scores_TK, warmup_frames=2).tolist() == [5.0, 6.0]
    assert clip_scores(scores_TK, warmup_frames=12).tolist() == [6.0, 7.0]


def test_the_background_answers_only_where_clips_are_labelled_so() -> None:
    scores_NK = np.array([[0.9, 0.6, 0.1], [0.8, 0.1, 0.3]])
    assert evaluate_clips(scores_NK, ["kick", "punch"], LABELS).top1 == 1.0
    report = evaluate_clips(scores_NK, ["kick", BACKGROUND], LABELS)
    assert (report.top1, report.top5, report.mean_class_top1) == (0.5, 1.0, 0.5)
    assert list(report.per_class) == [BACKGROUND, "kick"]


def thumos_model(folder: Path) -> Path:
    """A tiny checkpoint with the labels of the feature folder."""
    config = replace(tiny_model().config, labels=ACTIONS, sample_hz=4.0, start_rules={"Shotput": StartRule(0.5, 0.3)})
    torch.manual_seed(1)
    save_checkpoint(folder / "model", Cake(config))
    return folder / "model"


def run_eval(data: Path, model: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["eval", "--data", str(data), "--model", str(model), "--processes", "1", *options])


def test_eval_runs_the_head_over_the_test_sessions_of_a_feature_folder(thumos: Path, tmp_path: Path) -> None:
    model = thumos_model(tmp_path)
    done = run_eval(thumos, model, "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report["per_class"]) == list(ACTIONS[1:])
    assert len(report["stage_cmap"]) == 10
    assert {label: c["actions"] for label, c in report["per_class"].items()} == dict.fromkeys(ACTIONS[1:], 2)
    switched = json.loads(run_eval(thumos, model, "--json", "--cliff-diving").stdout)
    assert switched["per_class"]["Diving"] != report["per_class"]["Diving"]
    assert switched["per_class"]["Shotput"] == report["per_class"]["Shotput"]
    assert "Frame cAP by tenths" in run_eval(thumos, model, "--subset", "training").stdout


def test_scores_over_features_are_causal_and_those_of_the_step(thumos: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = Cake(replace(tiny_model().config, labels=ACTIONS)).eval()
    sequence = read_all(thumos)[0]
    scores_TK = score_features(model.head, sequence)
    head = replace(sequence, static_TD=sequence.static_TD[:9], motion_TD=sequence.motion_TD[:9], pts_s_T=np.arange(9.0))
    np.testing.assert_allclose(score_features(model.head, head), scores_TK[:9], atol=1e-6)
    hidden_BH = model.head.fresh(1)
    with torch.no_grad():
        for t in range(9):
            features_TD = np.concatenate([sequence.static_TD[t], sequence.motion_TD[t]])
            scores_BK, hidden_BH = model.head.step(torch.from_numpy(features_TD)[None], hidden_BH)
            np.testing.assert_allclose(scores_BK[0].numpy(), scores_TK[t], atol=1e-6)


def test_features_that_do_not_fit_the_model_are_reported(thumos: Path, tmp_path: Path) -> None:
    model = thumos_model(tmp_path)
    for path in thumos.glob("flow_*/*.npy"):
        np.save(path, np.load(path)[:, :10])
    done = run_eval(thumos, model)
    assert done.exit_code == 2
    assert "16 features a frame in rgb_*, 10 in flow_*; the model's head takes 16 and 16" in done.stderr
    save_checkpoint(tmp_path / "other", tiny_model())
    done = run_eval(thumos, tmp_path / "other")
    assert done.exit_code == 2
    assert "labels that the model does not know: CliffDiving, Diving, Shotput" in done.stderr


def test_eval_on_a_list_names_the_clip_that_does_not_decode_and_counts_the_others(clips: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model", tiny_model())
    done = run_eval(clips, tmp_path / "model", "--json", "--cache", str(tmp_path / "cache"))
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["clips"] == 2
    assert {label: c["clips"] for label, c in report["per_class"].items()} == {"kick": 1, "punch": 1}
    assert report["top5"] == 1.0
    assert "broken.mp4" in done.stderr
    assert "1 videos were skipped" in done.stderr


@pytest.mark.parametrize("option", ["--subset=testing", "--rgb=rgb_x3d", "--cliff-diving", "--by-video"])
def test_an_option_of_another_layout_is_refused(clips: Path, tmp_path: Path, option: str) -> None:
    done = run_eval(clips, tmp_path / "model", option)
    assert done.exit_code == 2
    assert f"{option.split('=')[0]} has no effect on a list of clips" in done.stderr
