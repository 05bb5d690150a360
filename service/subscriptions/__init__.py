"""Subscriptions: events of many sessions, delivered to targets from cursors that outlive the server."""
