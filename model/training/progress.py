"""Callbacks with which long work reports its progress to its caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Callbacks. A piece of work calls `on_stage`, then one of the others as it proceeds."""

    on_stage: Callable[[str], None]
    """Work with this description begins."""
    on_item: Callable[[int, int], None]
    """The number of finished items, and the total."""
    on_step: Callable[[int, int, float], None]
    """The number of finished training steps, the total, and the recent mean loss."""
    on_warning: Callable[[str], None]
    """A sentence about a video that is used although part of it may be missing or wrong."""
