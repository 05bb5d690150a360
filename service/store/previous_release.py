"""Stored JSON that version 0.1 can read too, so that both versions can share a store.

Version 0.1 rejects unknown fields in the properties of a video and in the description of a model, but ignores them one
level up. Fields that it lacks are stored there, under the name of the object that they belong to and this suffix. The
fields of events that it lacks have a separate column, or a separate field of a Redis stream.
"""

from collections.abc import Mapping
from typing import Any

_SUFFIX = "_since_0_2"
_VIDEO = frozenset({"codec", "width", "height", "rate_hz", "duration_s", "rotation_deg", "live"})
_MODEL = frozenset({"name", "version", "labels", "sample_hz", "image_size"})
EVENT_FIELDS_SINCE_0_2 = {"name", "metadata", "region", "start_time", "rules_hash", "labels", "start_rules"}
"""Fields of events that version 0.1 lacks; it rejects them inside an event."""


def split_video(session: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a session, of its `video` only those that version 0.1 knows, and the others one level up."""
    video = session.get("video")
    if video is None:
        return dict(session)
    known, others = _split(video, _VIDEO)
    return {**session, "video": known, f"video{_SUFFIX}": others}


def join_video(session: object) -> object:
    """Undo `split_video`. Anything else is returned as it is."""
    if not isinstance(session, dict) or f"video{_SUFFIX}" not in session:
        return session
    others = session[f"video{_SUFFIX}"]
    joined = {name: value for name, value in session.items() if name != f"video{_SUFFIX}"}
    if isinstance(joined.get("video"), dict) and isinstance(others, dict):
        joined["video"] = {**joined["video"], **others}
    return joined


def split_models(worker: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a worker, of its `models` only what version 0.1 knows, and the others one level up."""
    pairs = [_split(model, _MODEL) for model in worker["models"]]
    return {**worker, "models": [known for known, _ in pairs], f"models{_SUFFIX}": [others for _, others in pairs]}


def join_models(worker: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `split_models`, for workers of either version."""
    others = worker.get(f"models{_SUFFIX}") or [{} for _ in worker["models"]]
    return {**worker, "models": [{**model, **more} for model, more in zip(worker["models"], others, strict=True)]}


def _split(fields: Mapping[str, Any], known: frozenset[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        {name: value for name, value in fields.items() if name in known},
        {name: value for name, value in fields.items() if name not in known},
    )
