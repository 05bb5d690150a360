"""The paper's setting: what was learned from other video stays as it is, and only heads learn from the target."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.architectures import architecture
from model.checkpoints.folders import find_checkpoint
from model.checkpoints.stored import CheckpointError, read_weights
from model.config import BACKGROUND, StartRule
from model.training.ablation.compare import RankedStreams, VariantScores, compare_variants
from model.training.ablation.heads import VARIANTS
from model.training.ablation.plain import drop_difference
from model.training.ablation.transfer import TransferTarget, cosines, open_target, train_source, transfer
from model.training.evaluation.evaluate import evaluate
from model.training.evaluation.scores import StreamScores
from model.training.layouts.annotations import LabelledVideo
from model.training.run import Run, open_run
from model.training.stages.maps import load_maps
from tests.support.training_kit import ALONE, SHORTEST, SILENT


@pytest.fixture(scope="module")
def source(streams: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "source"
    run = open_run([streams], out, "cake-xs-rgb", SHORTEST, ALONE, SILENT)
    train_source(run, SILENT)
    return run


@pytest.fixture(scope="module")
def target(source: Run, streams: Path, tmp_path_factory: pytest.TempPathFactory) -> TransferTarget:
    out = tmp_path_factory.mktemp("runs") / "target"
    return open_target(source, [streams], streams, out, folds=2, share=1.0, progress=SILENT)


def test_the_network_of_the_papers_setting_sees_plain_frames() -> None:
    config, other = (architecture(name, (BACKGROUND, "kick")) for name in ("cake-xs-rgb", "cake-xs"))
    assert config.trunk.in_channels == 3
    assert replace(config, name="cake-xs", trunk=other.trunk) == other


def test_a_start_without_differences_keeps_all_other_weights_and_rejects_other_networks(tmp_path: Path) -> None:
    drop_difference("mocap", tmp_path / "plain")
    before, after = (read_weights(folder)[0] for folder in (find_checkpoint("mocap"), tmp_path / "plain"))
    first = "trunk.stem.spatial.weight"
    np.testing.assert_array_equal(after[first], before[first][:, -3:])
    kept = [name for name in before if name.startswith(("trunk.", "static_head.")) and name != first]
    assert sorted([first, *kept]) == sorted(after)
    for name in kept:
        np.testing.assert_array_equal(after[name], before[name])
    with pytest.raises(CheckpointError, match="expected a cake-xs"):
        drop_difference(str(tmp_path / "plain"), tmp_path / "again")


@pytest.mark.slow
def test_the_target_keeps_the_trunk_and_the_teacher_of_the_source(source: Run, target: TransferTarget) -> None:
    of_source, of_target = source.training[0], target.training[0]
    for name in ("trunk", "teacher"):
        kept, known = load_maps(target.run, name, of_target)[0], load_maps(source, name, of_source)[0]
        np.testing.assert_array_equal(kept, known)


@pytest.mark.slow
def test_every_variant_scores_every_test_stream_and_a_second_call_finds_it(
    source: Run, target: TransferTarget, tmp_path: Path
) -> None:
    first = transfer(source, target, VARIANTS, [0], tmp_path, SILENT)
    assert [outcome.variant for outcome in first] == [variant.name for variant in VARIANTS]
    for outcome in first:
        assert [stream.name for stream in outcome.streams] == [video.name for video in target.tested]
    again = transfer(source, target, VARIANTS, [0], tmp_path, SILENT)
    for before, after in zip(first, again, strict=True):
        np.testing.assert_array_equal(before.streams[0].scores, after.streams[0].scores)
    assert not (target.run.out_dir / "stages").exists()
    similar = cosines(source, target, [0], SILENT)
    assert all(-1 <= value <= 1 for values in similar.values() for value in values)


def test_cross_validation_tests_each_block_with_heads_of_the_others(target: TransferTarget) -> None:
    block_N = np.array([0, 0, 1, 2])
    four = [_video(number, "kick") for number in range(4)]
    run = replace(target.run, config=target.run.config.for_labels((BACKGROUND, "kick")))
    crossed = replace(target, run=run, training=four, tested=four, block_N=block_N)
    splits = crossed.splits(seed=0)
    assert sorted(int(i) for _, tested in splits for i in tested) == [0, 1, 2, 3]
    for learned, tested in splits:
        assert not set(block_N[learned]) & set(block_N[tested])


def test_a_share_of_the_streams_shows_every_label(source: Run, target: TransferTarget) -> None:
    ten = [_video(number, "kick" if number else "wave") for number in range(10)]
    run = replace(target.run, config=target.run.config.for_labels((BACKGROUND, "kick", "wave")))
    few = replace(target, run=run, training=ten, share=0.2)
    for seed in range(5):
        [(learned, _)] = few.splits(seed)
        assert len(learned) == 2
        assert 0 in learned


def test_a_difference_that_every_stream_shows_has_an_interval_above_zero() -> None:
    good, bad = _streams(noise=0.1), _streams(noise=10.0)
    outcomes = [VariantScores(name, seed, each) for name, each in (("bad", bad), ("good", good)) for seed in (0, 1)]
    text = compare_variants(outcomes, np.arange(8), (BACKGROUND, "kick"), StartRule(enter=0.2, leave=0.1))
    row = next(line for line in text.splitlines() if line.startswith("| good minus bad"))
    low = float(row.split("(")[1].split(" to ")[0])
    assert low > 0
    assert "| good | 1.000 ± 0.000" in text


def test_streams_that_are_drawn_twice_count_as_if_they_were_two() -> None:
    streams, labels, rule = _streams(noise=3.0), (BACKGROUND, "kick"), StartRule(enter=0.2, leave=0.1)
    ranked = RankedStreams.of(streams, labels, rule)
    for count_N in (np.ones(8, np.int64), np.array([2, 0, 1, 3, 0, 0, 1, 1])):
        copies = [stream for stream, count in zip(streams, count_N, strict=True) for _ in range(count)]
        report = evaluate(copies, labels, {}, rule)
        expected = np.array([report.frame_map, report.start_map["1"], report.start_map["2"]], np.float64)
        np.testing.assert_allclose(ranked.measure(count_N), expected, atol=1e-9)


def _video(number: int, label: str) -> LabelledVideo:
    return LabelledVideo(str(number), Path(f"{number}.mp4"), "training", ((1.0, 2.0, label),))


def _streams(noise: float) -> Sequence[StreamScores]:
    rng = np.random.default_rng(0)
    streams = []
    for number in range(8):
        shown_T = np.zeros(100)
        shown_T[40:60] = 1
        score_T = 1 / (1 + np.exp(-(2 * shown_T - 1 + noise * rng.normal(size=100))))
        scores_TK = np.stack([1 - score_T, score_T], axis=1)
        streams.append(StreamScores(str(number), np.arange(100) / 10, scores_TK, ((4.0, 6.0, "kick"),)))
    return streams
