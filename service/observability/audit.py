"""The audit log: who submitted, viewed, changed or deleted what, as one JSON object per line of a file."""

import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from logging import INFO, LogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Literal

import structlog

MAX_FILE_BYTES, KEPT_FILES = 10 * 1024**2, 10
VIEW_EVERY_S = 600.0
"""Repeated views of the same thing within this time are recorded once: the page polls several times per second."""
Action = Literal[
    "session.submit",
    "session.retry",
    "session.view",
    "session.export",
    "session.push",
    "session.change",
    "session.stop",
    "session.delete",
    "feedback.give",
    "feedback.withdraw",
    "webhook.redeliver",
    "webhook.rotate_secret",
    "subscription.create",
    "subscription.pause",
    "subscription.resume",
    "subscription.test",
    "subscription.rotate_secret",
    "subscription.delete",
    "cameras.discover",
    "model.put",
    "model.shadow",
    "model.promote",
    "model.delete",
    "person.sign_in",
    "person.sign_out",
    "key.create",
    "key.change",
    "key.revoke",
]


@dataclass(frozen=True)
class AuditActor:
    """Who acted. `key` is the id of an API key, null without authentication; `address` the client's address."""

    key: str | None = None
    key_name: str | None = None
    person: str | None = None
    """Name of the person for whom the key stands, and who has authenticated them."""
    issuer: str | None = None
    address: str | None = None
    user: str | None = None
    """Name of the system user, for commands."""


class AuditLog:
    """Appends to `path`, readable by its owner only. Old files are kept as `path.1` to `path.10`.

    Recording never fails: when the file cannot be written, the problem is reported on stderr.
    """

    def __init__(self, path: Path, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._handler = RotatingFileHandler(
            path, maxBytes=MAX_FILE_BYTES, backupCount=KEPT_FILES, encoding="utf-8", delay=True
        )
        self._path = path
        self._clock_s = clock_s
        self._viewed_s: dict[tuple[AuditActor, str, str], float] = {}

    def record(self, action: Action, actor: AuditActor, **details: str | None) -> None:
        """Append an entry. `details` name what was acted on: ids and names, never secrets."""
        entry = {
            "time": datetime.now(UTC).isoformat(),
            "action": action,
            **vars(actor),
            **details,
            "request_id": structlog.contextvars.get_contextvars().get("request_id"),
        }
        line = json.dumps({name: value for name, value in entry.items() if value is not None})
        if not self._path.exists():
            self._create()
        self._handler.handle(LogRecord("audit", INFO, "", 0, line, None, None))

    def record_view(self, actor: AuditActor, *, session: str, what: str) -> None:
        """Append an entry unless the same actor viewed the same thing recently."""
        now_s, key = self._clock_s(), (actor, session, what)
        # Oldest first, so that recording a view takes the same time however many sessions are viewed.
        while self._viewed_s and now_s - next(iter(self._viewed_s.values())) >= VIEW_EVERY_S:
            del self._viewed_s[next(iter(self._viewed_s))]
        if key in self._viewed_s:
            return
        self._viewed_s[key] = now_s
        self.record("session.view", actor, session=session, what=what)

    def close(self) -> None:
        """Close the file."""
        self._handler.close()

    def _create(self) -> None:
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, stat.S_IRUSR | stat.S_IWUSR))
        except OSError:
            # The handler will have the same problem, and reports it.
            return
