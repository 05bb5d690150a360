"""The line in the log for each change of a session's state, whichever process makes the change."""

from collections.abc import Iterable

import structlog

from service.store.records import SessionRecord

_log = structlog.get_logger(__name__)


def log_state(record: SessionRecord) -> None:
    """Log that the session has entered its state, as a warning if that was unexpected."""
    fields: dict[str, object] = {"session": record.id, "name": record.name, "state": record.state}
    fields["position_s"] = round(record.position_s, 3)
    if record.code is not None:
        fields["code"] = record.code
    if record.detail is not None:
        fields["detail"] = record.detail
    is_expected = record.state not in ("failed", "reconnecting") and record.detail is None
    (_log.info if is_expected else _log.warning)("session state", **fields)


def log_stopped(sessions: Iterable[SessionRecord]) -> None:
    """Log which of the sessions stopped immediately; the workers of the others log theirs."""
    for record in sessions:
        if record.state == "stopped":
            log_state(record)
