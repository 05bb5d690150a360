"""What a key may allow."""

from enum import StrEnum


class Scope(StrEnum):
    SESSIONS_READ = "sessions:read"
    SESSIONS_WRITE = "sessions:write"
    EVENTS_READ = "events:read"
    METRICS_READ = "metrics:read"
    ADMIN = "admin"
    """Includes all others and shows the sessions of every key."""
