"""How well an action is learned from a few clips: estimates, intervals, warnings, and clips that are alike."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.checkpoints.checkpoint import load_checkpoint
from model.thresholds import StartDecoder
from model.training.clips.few.classifier import encode, fit, make_rows
from model.training.clips.few.estimate import Share, auc_interval, estimate, reports_start
from model.training.clips.few.features import FrozenClip
from model.training.clips.few.learning_curve import draw_clips, learning_curve
from model.training.clips.few.report import warnings
from model.training.clips.few.similar import places, twins
from model.training.layouts.annotations import DataError


def random_clips(count: int, apart: float) -> tuple[list[FrozenClip], np.ndarray]:
    """Features of clips of two kinds in turn, which differ by `apart` deviations."""
    rng = np.random.default_rng(0)
    positive_N = np.arange(count) % 2 == 1
    middle_F = rng.normal(size=32)
    clips = []
    for positive in positive_N:
        features = (rng.normal(size=(3, 20, 32)) + apart * positive * middle_F).astype(np.float32)
        clips.append(FrozenClip(features[0], features[1:], rng.normal(size=144).astype(np.float32)))
    return clips, positive_N


def test_a_clip_that_is_left_out_has_no_influence(model: Path) -> None:
    head = load_checkpoint(model)[0].head
    clips, positive_N = random_clips(8, 1.0)
    garbled = [FrozenClip(clip.served_TF + 9, clip.views_VTF + 9, clip.thumbnail_P) for clip in clips[:1]]
    honest = fit(make_rows(head, clips, np.random.default_rng(1)), positive_N, [0])
    blind = fit(make_rows(head, garbled + clips[1:], np.random.default_rng(1)), positive_N, [0])
    assert np.array_equal(honest.weight_E, blind.weight_E)


def test_both_kinds_have_equal_weight_however_many_clips_they_have(model: Path) -> None:
    head = load_checkpoint(model)[0].head
    clips, positive_N = random_clips(24, 0.0)
    kept = [i for i in range(24) if not positive_N[i] or i < 8]
    few = [clips[i] for i in kept]
    classifier = fit(make_rows(head, few, np.random.default_rng(0)), positive_N[kept], regularisation=1e-6)
    scores = [classifier.score(encode(head, clip.served_TF[None])[0]).mean() for clip in few]
    assert np.mean(scores) == pytest.approx(0.5, abs=0.01), "4 clips of one kind and 12 of the other"


@given(st.integers(0, 30), st.integers(1, 30))
def test_an_interval_of_a_share_holds_it_and_is_never_a_point(count: int, of: int) -> None:
    share = Share.of_counts(min(count, of), of)
    assert 0 <= share.low <= share.count / of <= share.high <= 1
    assert share.high - share.low > 0.05


@given(st.floats(0, 1), st.integers(2, 50), st.integers(2, 50))
def test_an_interval_of_an_area_holds_it_and_is_never_a_point(auc: float, positives: int, negatives: int) -> None:
    low, high = auc_interval(auc, positives, negatives)
    assert 0 <= low <= auc <= high <= 1
    assert high - low > 0.01


def test_scores_without_information_are_told_apart_from_good_ones() -> None:
    rng = np.random.default_rng(3)
    positive_N = np.arange(20) % 2 == 1
    blind, _ = estimate(list(rng.random((10, 20)).repeat(2, axis=0)), positive_N, 10)
    sharp, rule = estimate([np.full(20, 0.8 if positive else 0.1) for positive in positive_N], positive_N, 10)
    assert blind.auc_low < 0.5 < blind.auc_high
    assert (sharp.found.count, sharp.alarms.count, sharp.correct.count) == (10, 0, 20)
    assert sharp.auc_low > 0.5
    assert 0.1 < rule.enter < 0.8


@pytest.mark.parametrize(
    ("level", "expected"),
    [(0.9, None), (0.5, "includes 0.5"), (0.1, "is below 0.5. Check whether clips are in the wrong")],
)
def test_the_statement_about_chance_is_true(model: Path, level: float, expected: str | None) -> None:
    clips, positive_N = random_clips(20, 1.0)
    found, _ = estimate([np.full(20, level if positive else 0.5) for positive in positive_N], positive_N, 10)
    paths, group_N = [Path(f"clips/{index}.mp4") for index in range(20)], np.arange(20)
    config = load_checkpoint(model)[0].config
    said = warnings("kick", paths, clips, positive_N, (group_N, group_N), found, config)
    about_chance = [sentence for sentence in said if "ROC curve" in sentence]
    assert len(about_chance) == (expected is not None)
    assert all(f"{found.auc_low:.2f} to {found.auc_high:.2f}, {expected}" in sentence for sentence in about_chance)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_rule_is_tried_as_the_start_decoder_applies_it(scores: list[float]) -> None:
    positive_N = np.array([True, False, True, False])
    _, rule = estimate([np.full(9, level) for level in (0.7, 0.1, 0.6, 0.2)], positive_N, 10)
    decoder = StartDecoder(("background", "kick"), {"kick": rule})
    events = [event for t, score in enumerate(scores) for event in decoder.push(t / 10, (1 - score, score))]
    assert reports_start(np.array(scores), rule, 10) == any(type(event).__name__ == "ActionStart" for event in events)


def test_clips_of_one_place_and_copies_are_recognised() -> None:
    clips, positive_N = random_clips(6, 1.0)
    moved = FrozenClip(clips[3].served_TF, clips[3].views_VTF, clips[0].thumbnail_P + 1)
    copied = FrozenClip(clips[0].served_TF * 1.001, clips[0].views_VTF, clips[0].thumbnail_P)
    several = [*clips, moved, copied]
    place_N = places(several)
    assert place_N[0] == place_N[6] == place_N[7]
    assert len(set(place_N.tolist())) == 6
    twin_N = twins(several, np.append(positive_N, [False, False]))
    assert twin_N[0] == twin_N[7]
    assert len(set(twin_N.tolist())) == 7


def test_a_draw_learns_and_tests_on_different_blocks() -> None:
    block_N, positive_N = np.repeat(np.arange(6), 10), np.arange(60) % 2 == 0
    for seed in range(5):
        draw = draw_clips(positive_N, block_N, 10, seed)
        assert not set(block_N[draw.learned]) & set(block_N[draw.tested])
        assert positive_N[draw.learned].sum() == (~positive_N[draw.learned]).sum() == 10
        assert len(draw.tested) == 30
    assert len(draw_clips(positive_N, block_N, 25, 0).tested) == 10
    with pytest.raises(DataError, match="leave no block"):
        draw_clips(positive_N, block_N, 30, 0)


def test_a_learning_curve_gives_every_method_the_same_clips() -> None:
    block_N, positive_N = np.repeat(np.arange(4), 6), np.arange(24) % 2 == 0
    seen: dict[str, list[tuple[int, ...]]] = {"knowing": [], "ignorant": []}

    def knowing(learned: np.ndarray, tested: np.ndarray, seed: int) -> np.ndarray:
        seen["knowing"].append((*learned, *tested))
        return np.asarray(positive_N[tested], np.float64)

    def ignorant(learned: np.ndarray, tested: np.ndarray, seed: int) -> np.ndarray:
        seen["ignorant"].append((*learned, *tested))
        return np.zeros(len(tested))

    lines = list(learning_curve({"knowing": knowing, "ignorant": ignorant}, positive_N, block_N, (2, 3), draws=2))
    assert [(line["clips"], line["knowing mean"], line["ignorant mean"]) for line in lines] == [
        (2, 1, 0.5),
        (3, 1, 0.5),
    ]
    assert seen["knowing"] == seen["ignorant"]
