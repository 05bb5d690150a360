"""Snapshots are made while a client is watching, and less often while frames are late."""

import pytest

from service.decoder.snapshot_schedule import SnapshotSchedule


def due_at(snapshot_hz: float, late_s: float, *, is_watched: bool = True, duration_s: float = 20.0) -> list[float]:
    """When they are made, of frames ten times a second."""
    times = SnapshotSchedule(snapshot_hz)
    frames_s = [n / 10 for n in range(round(duration_s * 10))]
    return [at_s for at_s in frames_s if times.is_due(100.0 + at_s, late_s=late_s, is_watched=is_watched)]


def test_while_frames_are_in_time_snapshots_have_the_requested_rate() -> None:
    assert due_at(2.0, late_s=0.01) == pytest.approx([n / 2 for n in range(40)])


def test_while_frames_are_late_there_is_a_snapshot_of_the_first_and_then_one_every_five_seconds() -> None:
    assert due_at(2.0, late_s=0.2) == pytest.approx([0.0, 5.0, 10.0, 15.0])
    assert due_at(0.1, late_s=0.2) == pytest.approx([0.0, 10.0])


def test_without_a_rate_there_are_none() -> None:
    assert due_at(0.0, late_s=0.0) == []


def test_without_watchers_there_is_one_every_five_seconds() -> None:
    assert due_at(2.0, late_s=0.0, is_watched=False) == pytest.approx([0.0, 5.0, 10.0, 15.0])


def test_a_new_watcher_gets_a_snapshot_of_the_next_frame() -> None:
    times = SnapshotSchedule(2.0)
    assert times.is_due(100.0, late_s=0.0, is_watched=False)
    assert not times.is_due(100.6, late_s=0.0, is_watched=False)
    assert times.is_due(100.7, late_s=0.0, is_watched=True)
