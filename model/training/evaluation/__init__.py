"""Measures scores and starts, and chooses the settings of the start decoder."""
