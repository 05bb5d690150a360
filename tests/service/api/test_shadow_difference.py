"""Starts of two versions are paired by label, region and time; unpaired starts are the difference."""

from datetime import UTC, datetime, timedelta

from service.api.shadow_difference import difference, pairs_of
from service.store.model_records import UploadedModel
from service.store.shadow_records import FollowedSpan, FoundBy, ShadowStart, by_session
from tests.support.store_kit import MODEL, record

AT = datetime(2026, 1, 1, tzinfo=UTC)


def start(found_by: FoundBy, start_s: float, label: str = "kick", region: str | None = None) -> ShadowStart:
    return ShadowStart(
        found_by=found_by,
        label=label,
        region=region,
        start_s=start_s,
        score=0.9,
        time=AT + timedelta(seconds=start_s),
    )


def test_each_start_is_paired_at_most_once_and_with_the_earliest_that_is_near() -> None:
    first, second, third = start("serving", 1.0), start("serving", 1.5), start("serving", 9.0)
    mine, far = start("shadow", 1.8), start("shadow", 11.0)
    pairs = pairs_of([third, mine, far, second, first])
    assert pairs.both == [(first, mine)]
    assert pairs.alone == [second, third, far]


def test_starts_of_different_labels_or_regions_are_not_paired() -> None:
    starts = [start("serving", 1.0), start("shadow", 1.0, "jump"), start("shadow", 1.0, region="door")]
    assert pairs_of(starts).both == []


def test_the_difference_counts_by_label_and_session_with_rates() -> None:
    shadow = UploadedModel(
        info=MODEL.model_copy(update={"name": "gate", "version": "v2"}), size_bytes=1, uploaded_at=AT, is_shadow=True
    )
    session = record()
    spans = [FollowedSpan(from_s=0.0, to_s=1000.0), FollowedSpan(from_s=2000.0, to_s=2800.0, missed_frames=3)]
    starts = [start("serving", 5.0), start("shadow", 5.3), start("shadow", 8.0), start("shadow", 30.0)]
    found = difference(shadow, "v1", [(session, by_session(session.id, [*spans, *starts]))])
    kick = found.labels["kick"]
    assert (kick.both, kick.only_serving, kick.only_shadow) == (1, 0, 2)
    assert (kick.serving_per_hour, kick.shadow_per_hour) == (2.0, 6.0)
    assert found.labels["jump"].serving_per_hour == 0
    [one] = found.sessions
    assert (one.followed_s, one.missed_frames, list(one.labels)) == (1800.0, 3, ["kick"])
    assert [each.start_s for each in found.starts] == [30.0, 8.0]
