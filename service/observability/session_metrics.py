"""Metrics of individual sessions, read from the store for each scrape, so ended sessions leave no series behind."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import get_args

from prometheus_client import Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from service.feedback import Feedback, Verdict
from service.store.records import SessionRecord

MAX_NAME_LENGTH = 100
"""Length of names in labels: clients choose names, and each series repeats them."""
LABELS = ("session", "name")


class SessionMetrics(Collector):
    """The shown sessions as they were at `now`, with their feedback by session id; `left_out` others are live."""

    def __init__(
        self,
        shown: Sequence[SessionRecord],
        feedback: Mapping[str, Sequence[Feedback]],
        left_out: int,
        now: datetime,
    ) -> None:
        self._shown = shown
        self._feedback = feedback
        self._left_out = left_out
        self._now = now

    def text(self) -> bytes:
        """In Prometheus' text format, which escapes the values of labels."""
        return generate_latest(self)

    def collect(self) -> Iterable[Metric]:
        """The families, also when no session is live."""
        left_out = GaugeMetricFamily(
            "cake_sessions_left_out", "Live sessions beyond CAKE_SESSION_METRICS, which are not shown individually."
        )
        left_out.add_metric([], self._left_out)
        state = GaugeMetricFamily("cake_session_state", "1, with the session's state.", labels=(*LABELS, "state"))
        for session in self._shown:
            state.add_metric([*_labels(session), session.state], 1)
        return [
            left_out,
            state,
            self._gauge(
                "cake_session_frame_age_seconds",
                "Time since the newest analysed frame arrived; none before the first one.",
                lambda session: _age_s(session.last_frame_at, self._now),
            ),
            self._gauge(
                "cake_session_last_action_timestamp_seconds",
                "Unix time of the newest start or end of an action; none before the first one.",
                lambda session: None if session.last_action_at is None else session.last_action_at.timestamp(),
            ),
            self._gauge(
                "cake_session_position_seconds", "Media time that was analysed.", lambda session: session.position_s
            ),
            self._verdicts(),
            self._counter("cake_session_frames", "Frames analysed.", lambda session: session.frames),
            self._counter(
                "cake_session_frames_dropped",
                "Frames of a live source that were dropped before analysis.",
                lambda session: session.dropped_frames,
            ),
            self._counter(
                "cake_session_reconnects", "Attempts to reconnect to the source.", lambda session: session.reconnects
            ),
        ]

    def _verdicts(self) -> Metric:
        """Not a counter, since people change their minds. Each label with feedback has all verdicts, so that shares are
        defined.
        """
        family = GaugeMetricFamily(
            "cake_session_feedback",
            "Verdicts on events, and missed actions, by label and verdict.",
            labels=(*LABELS, "label", "verdict"),
        )
        for session in self._shown:
            given = Counter((each.label, each.verdict) for each in self._feedback.get(session.id, ()))
            for label in sorted({label for label, _ in given}):
                for verdict in get_args(Verdict):
                    family.add_metric([*_labels(session), label, verdict], given[label, verdict])
        return family

    def _gauge(self, name: str, text: str, value_of: Callable[[SessionRecord], float | None]) -> Metric:
        family = GaugeMetricFamily(name, text, labels=LABELS)
        for session in self._shown:
            if (value := value_of(session)) is not None:
                family.add_metric(_labels(session), value)
        return family

    def _counter(self, name: str, text: str, value_of: Callable[[SessionRecord], int]) -> Metric:
        family = CounterMetricFamily(name, text, labels=LABELS)
        for session in self._shown:
            family.add_metric(_labels(session), value_of(session))
        return family


def _labels(session: SessionRecord) -> list[str]:
    return [session.id, (session.name or "")[:MAX_NAME_LENGTH]]


def _age_s(arrived_at: datetime | None, now: datetime) -> float | None:
    # Never negative, although the clock of the worker's machine may be ahead.
    return None if arrived_at is None else max(0.0, (now - arrived_at).total_seconds())
