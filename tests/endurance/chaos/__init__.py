"""Disturb a deployment in every way that it must survive, while every event is followed: `make chaos`."""
