"""Chooses the live sessions that the shadow versions of their models follow: those for which capacity is left."""

from collections.abc import Iterable, Mapping

from service.session.engine import Engine
from service.session.session import RunningSession


def follow_shadows(
    sessions: Iterable[RunningSession],
    keys: Iterable[str],
    engine: Engine,
    speeds: Mapping[str, float],
    *,
    capacity_steps_per_s: float,
) -> None:
    """Let each realtime session be followed by the shadow with its model's name, in the order of their claims.

    Sessions come first: a shadow uses what they leave, and stops when they need it. `speeds` are the shares of the
    configured models' speed that slower versions have.
    """
    by_name = {key.rpartition("@")[0]: key for key in keys if engine.has(key)}
    running = list(sessions)
    free_steps_per_s = capacity_steps_per_s - sum(session.cost_steps_per_s for session in running)
    for session in running:
        key = by_name.get(session.record.model) if session.is_realtime else None
        if key is None:
            session.follow_shadow(None)
            continue
        cost_steps_per_s = engine.config(key).sample_hz * session.streams / speeds.get(key, 1.0)
        fits = cost_steps_per_s <= free_steps_per_s
        free_steps_per_s -= cost_steps_per_s if fits else 0.0
        session.follow_shadow(key if fits else None)
