"""Metrics of the scores of each label, and of their drift from those at calibration."""

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Gauge, Histogram

from model.score_drift import SCORE_EDGES, DriftWindow

MAX_LABELS = 200
"""Pairs of model and label that a worker shows, each with a dozen series; further ones are left out."""


class ScoreMetrics:
    """The scores that a worker computes, over all its sessions."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._scores = Histogram(
            "cake_label_scores",
            "Scores of analysed frames, by model and label.",
            ["model", "label"],
            registry=registry,
            buckets=SCORE_EDGES,
        )
        self._drift = Gauge(
            "cake_score_drift",
            "Population stability index of a label's scores, compared with calibration; the largest of all workers.",
            ["model", "label"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._windows: dict[str, dict[str, DriftWindow]] = {}
        self._shown: set[tuple[str, str]] = set()

    def expect(self, model_key: str, histograms: Mapping[str, Sequence[int]]) -> None:
        """Compare the scores of a model with these from now on. Labels without an entry have no drift."""
        self._windows[model_key] = {label: DriftWindow(counts) for label, counts in histograms.items()}

    def forget(self, model_key: str) -> None:
        """Remove a model that is no longer loaded."""
        self._windows.pop(model_key, None)

    def observe(self, model: str, model_key: str, labels: Sequence[str], scores: Sequence[float]) -> None:
        """Add the scores of a frame: the scores of each label, one region after the other."""
        windows = self._windows.get(model_key, {})
        for number, score in enumerate(scores):
            label = labels[number % len(labels)]
            if (model, label) not in self._shown:
                if len(self._shown) >= MAX_LABELS:
                    continue
                self._shown.add((model, label))
            self._scores.labels(model, label).observe(score)
            window = windows.get(label)
            if window is not None and (index := window.add(score)) is not None:
                self._drift.labels(model, label).set(index)
