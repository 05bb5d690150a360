"""Measures how much of a processor core's time calls take."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """How long to measure: the median of `rounds` measurements that take at least `round_s` each."""

    rounds: int
    round_s: float


def core_seconds(functions: Mapping[str, Callable[[], object]], effort: Effort) -> dict[str, list[float]]:
    """For each function, the processor time of one call in seconds, once for each round.

    The functions alternate, so that a temporary disturbance of the machine affects all of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(effort.rounds):
        for name, function in functions.items():
            seconds[name].append(_core_seconds(function, effort.round_s))
    return seconds


def _core_seconds(function: Callable[[], object], at_least_s: float) -> float:
    """Processor time of one call in seconds, over all threads; other programs hardly change it."""
    function()
    calls, began_s, took_s = 0, time.process_time(), 0.0
    while took_s < at_least_s or calls == 0:
        function()
        calls += 1
        took_s = time.process_time() - began_s
    return took_s / calls
