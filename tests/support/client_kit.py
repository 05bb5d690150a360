"""An event as clients receive it."""

from cake_client import ActionStart


def start_json(number: int, **more: object) -> str:
    """The start number `number` of the session `s`, in JSON."""
    return ActionStart.model_validate(
        {
            "type": "action.start",
            "id": f"{number}000-0",
            "session_id": "s",
            "decided_s": number,
            "time": "2026-11-29T09:00:00Z",
            "label": "kick",
            "score": 0.9,
            "start_s": number,
            **more,
        }
    ).model_dump_json()
