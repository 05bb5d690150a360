"""What a command shows while training goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """What to call as work goes on."""

    on_stage: Callable[[str], None]
    on_item: Callable[[int, int], None]
    """What is done of the stage, and of how much."""
    on_step: Callable[[int, int, float], None]
    """Finished training steps, of how many, and the recent mean loss."""
