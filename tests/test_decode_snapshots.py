"""Pictures for people give way to frames that are late, but not for long."""

import pytest

from service.decode_snapshots import SnapshotTimes


def due_at(snapshot_hz: float, late_s: float, duration_s: float = 20.0) -> list[float]:
    """When they are made, of frames ten times a second."""
    times = SnapshotTimes(snapshot_hz)
    return [n / 10 for n in range(round(duration_s * 10)) if times.is_due(100.0 + n / 10, late_s=late_s)]


def test_frames_in_time_are_shown_as_often_as_asked() -> None:
    assert due_at(2.0, late_s=0.01) == pytest.approx([n / 2 for n in range(40)])


def test_while_frames_are_late_the_first_is_shown_and_then_one_every_five_seconds() -> None:
    assert due_at(2.0, late_s=0.2) == pytest.approx([0.0, 5.0, 10.0, 15.0])
    assert due_at(0.1, late_s=0.2) == pytest.approx([0.0, 10.0])


def test_without_a_rate_there_are_none() -> None:
    assert due_at(0.0, late_s=0.0) == []
