"""The scores of each label as metrics, bounded in number, and their drift where the checkpoint says what to expect."""

from prometheus_client import CollectorRegistry

from model.score_drift import WINDOW_FRAMES, histogram_of
from service.observability.score_metrics import MAX_LABELS, ScoreMetrics


def drift(registry: CollectorRegistry, label: str) -> float | None:
    return registry.get_sample_value("cake_score_drift", {"model": "gate", "label": label})


def test_drift_is_shown_only_for_labels_with_scores_of_calibration() -> None:
    registry = CollectorRegistry()
    scores = ScoreMetrics(registry)
    scores.expect("gate@v1", {"kick": histogram_of([0.01] * 1000)})
    for _ in range(WINDOW_FRAMES // 2):
        scores.observe("gate", "gate@v1", ("kick", "punch"), [0.01, 0.9])
    found = drift(registry, "kick")
    assert found is not None
    assert found < 0.05
    assert drift(registry, "punch") is None
    for _ in range(WINDOW_FRAMES):
        scores.observe("gate", "gate@v1", ("kick", "punch"), [0.6, 0.9])
    found = drift(registry, "kick")
    assert found is not None
    assert found > 0.25


def test_the_scores_of_all_regions_are_counted_by_label_up_to_a_number_of_labels() -> None:
    registry = CollectorRegistry()
    scores = ScoreMetrics(registry)
    labels = [f"label{number}" for number in range(MAX_LABELS + 5)]
    scores.observe("gate", "gate", labels, [0.3] * 2 * len(labels))
    counts = [
        registry.get_sample_value("cake_label_scores_count", {"model": "gate", "label": label}) for label in labels
    ]
    assert counts == [2.0] * MAX_LABELS + [None] * 5
    assert (
        registry.get_sample_value("cake_label_scores_bucket", {"model": "gate", "label": "label0", "le": "0.35"}) == 2
    )


def test_a_model_that_is_no_longer_loaded_is_not_compared() -> None:
    registry = CollectorRegistry()
    scores = ScoreMetrics(registry)
    scores.expect("gate@v1", {"kick": histogram_of([0.01] * 1000)})
    scores.forget("gate@v1")
    for _ in range(WINDOW_FRAMES):
        scores.observe("gate", "gate@v1", ("kick",), [0.6])
    assert drift(registry, "kick") is None
