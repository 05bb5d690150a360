"""Callbacks with which long work reports its progress to its caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Callbacks. A piece of work calls `on_stage`, then one of the others as it proceeds."""

    on_stage: Callable[[str], None]
    """Work of this description begins."""
    on_item: Callable[[int, int], None]
    """So many items are done, of so many."""
    on_step: Callable[[int, int, float], None]
    """So many training steps are done, of so many, and the recent mean loss."""
    on_warning: Callable[[str], None]
    """A video, named in this sentence, is used although part of it may be missing or wrong."""
