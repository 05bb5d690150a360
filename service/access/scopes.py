"""Scopes of API keys."""

from enum import StrEnum


class Scope(StrEnum):
    """What an API key permits."""

    SESSIONS_READ = "sessions:read"
    SESSIONS_WRITE = "sessions:write"
    EVENTS_READ = "events:read"
    METRICS_READ = "metrics:read"
    METRICS_SESSIONS = "metrics:sessions"
    """`/metrics/sessions`: ids and names of the sessions of every key."""
    ADMIN = "admin"
    """Implies all other scopes and gives access to the sessions of every key."""
