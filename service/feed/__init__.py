"""The events of all sessions, as they are committed, for clients and subscriptions."""
