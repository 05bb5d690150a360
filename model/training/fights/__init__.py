"""Rendered clips of people who fight and of people who do not, as seen by a surveillance camera."""
