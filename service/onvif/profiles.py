"""The streams that a device offers, and which of them suits a model."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """A stream of one video source of a device. `rate_hz` is the limit of its frame rate, if the device reports one."""

    token: str
    name: str
    source: str
    """The video source: the channel of a recorder or of a camera with several lenses."""
    encoding: str
    width: int
    height: int
    rate_hz: float | None


def best_profiles(profiles: Iterable[Profile], *, least_side: int, sample_hz: float) -> list[Profile]:
    """For each source the smallest stream that has enough pixels and frames, else the largest of the source.

    Args:
        least_side: pixels that width and height should have: more are scaled away, and cost processor time.
        sample_hz: frames that the model takes of each second.
    """
    by_source: dict[str, list[Profile]] = {}
    for profile in profiles:
        by_source.setdefault(profile.source, []).append(profile)
    return [_best(of_source, least_side, sample_hz) for of_source in by_source.values()]


def _best(profiles: list[Profile], least_side: int, sample_hz: float) -> Profile:
    large = [each for each in profiles if min(each.width, each.height) >= least_side]
    if not large:
        return max(profiles, key=_pixels)
    quick = [each for each in large if each.rate_hz is None or each.rate_hz >= sample_hz]
    return min(quick or large, key=_pixels)


def _pixels(profile: Profile) -> int:
    return profile.width * profile.height
