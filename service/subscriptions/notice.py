"""What people read of an event: a title and a few lines of text."""

from datetime import datetime

from service.event_schemas import Event
from service.subscriptions.notify_protocol import Notice
from service.subscriptions.target import Trial


def notice_of(event: Event) -> Notice:
    """The text of an event. Its last line is the same at each attempt, and so shows repetitions."""
    camera = event.name or f"session {event.session_id[:8]}"
    id_line = f"Session {event.session_id}, event {event.id}"
    match event.type:
        case "action.start":
            when = f"Started at {_clock(event.start_time or event.time)} with the score {event.score:.2f}."
            return Notice(_action(event.label, camera, event.region), f"{when}\n{id_line}", is_urgent=True)
        case "action.end":
            lasted = f"It lasted {event.end_s - event.start_s:.1f} s, with the score {event.score:.2f}."
            return Notice(f"{_action(event.label, camera, event.region)} has ended", f"{lasted}\n{id_line}")
        case "event.media":
            length = f"A clip of {event.to_s - event.from_s:.1f} s was stored at {_clock(event.time)}."
            return Notice(f"Clip: {_action(event.label, camera, event.region)}", f"{length}\n{id_line}")
        case "session.state":
            detail = "" if event.detail is None else f"{event.detail}\n"
            is_failure = event.state == "failed"
            return Notice(f"{camera}: {event.state}", f"{detail}{_clock(event.time)}\n{id_line}", is_failure=is_failure)
        case "session.gap":
            missing = f"{event.gap_s:.1f} s before {_clock(event.time)} were not analysed."
            return Notice(f"{camera}: gap", f"{missing}\n{id_line}")
        case "session.changed":
            return Notice(f"{camera}: changed", f"Its settings were changed at {_clock(event.time)}.\n{id_line}")


def trial_notice(trial: Trial) -> Notice:
    """The text of a test."""
    return Notice("Test message", f"Notifications of CAKE arrive here.\nSubscription {trial.subscription_id}")


def _action(label: str, camera: str, region: str | None) -> str:
    return f"{label}: {camera}" if region is None else f"{label}: {camera}, {region}"


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
