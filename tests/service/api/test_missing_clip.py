"""What an action of a camera gets in place of a clip depends on the settings, the time and the state of the session."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from service.api.missing_clip import LOST, NOT_NAMED, OFF, STORED_WITHIN_S, missing_clip
from service.errors import ClipLostError, ClipNotKeptError, ClipPendingError, NotFoundError
from service.settings import Settings
from tests.support.store_kit import record, start

AFTER_S = 20.0


def settings(clips: Sequence[str]) -> Settings:
    return Settings.model_validate({"clips": clips, "clip_after_s": AFTER_S})


def why(clips: Sequence[str], passed_s: float, *, ended: bool = False) -> NotFoundError:
    """The error for a kick that was decided some seconds ago."""
    camera = record().model_copy(update={"state": "stopped" if ended else "running"})
    kick = start(camera.id, "1000-0")
    return missing_clip(camera, kick, settings(clips), kick.time + timedelta(seconds=passed_s))


@pytest.mark.parametrize(("clips", "detail"), [((), OFF), (("jump",), NOT_NAMED)])
def test_an_action_that_the_settings_do_not_name_has_no_clip(clips: Sequence[str], detail: str) -> None:
    error = why(clips, 1.0)
    assert (type(error), error.detail) == (ClipNotKeptError, detail)


@pytest.mark.parametrize(("passed_s", "retry_after_s"), [(2.5, 18), (AFTER_S, 1), (AFTER_S + STORED_WITHIN_S - 1, 1)])
def test_a_new_clip_follows_when_it_is_complete_and_stored(passed_s: float, retry_after_s: int) -> None:
    error = why(("all",), passed_s)
    assert (type(error), error.retry_after_s) == (ClipPendingError, retry_after_s)


@pytest.mark.parametrize(("passed_s", "ended"), [(AFTER_S + STORED_WITHIN_S, False), (1.0, True)])
def test_a_clip_that_was_not_stored_in_time_or_before_its_session_ended_is_lost(passed_s: float, ended: bool) -> None:
    error = why(("kick",), passed_s, ended=ended)
    assert (type(error), error.detail) == (ClipLostError, LOST)
