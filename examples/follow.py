"""Print the events of a session. Continues after restarts of the server without losing or repeating an event.

    pip install websockets
    python follow.py http://127.0.0.1:8000 SESSION_ID

The API key, if the server requires one, is read from the variable CAKE_KEY.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

RETRY_S = 1.0
REVOKED = 1008
"""Close code of the server when the API key was revoked."""


def follow(base_url: str, session_id: str, key: str | None = None) -> Iterator[dict[str, object]]:
    """Yield each event once, in order, until the session has ended."""
    url = f"{base_url.replace('http', 'ws', 1)}/v1/sessions/{session_id}/events"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    after = ""
    while True:
        try:
            with connect(f"{url}?after={after}" if after else url, additional_headers=headers) as socket:
                for message in socket:
                    event = json.loads(message)
                    after = event["id"]
                    yield event
                return  # The server closed the connection because the session has ended.
        except InvalidStatus as error:
            if error.response.status_code < 500:
                raise  # There is no such session, or the key may not read it.
        except ConnectionClosedError as error:
            if error.rcvd is not None and error.rcvd.code == REVOKED:
                raise
        except OSError:
            pass  # The server is restarting.
        time.sleep(RETRY_S)


def reason(error: InvalidStatus | ConnectionClosedError) -> str:
    """Why the server rejected the request or closed the connection."""
    if isinstance(error, ConnectionClosedError):
        return str(error)
    response = error.response
    try:
        detail = json.loads(response.body or b"")["detail"]
    except (ValueError, KeyError, TypeError):
        detail = response.reason_phrase  # A proxy may respond with HTML.
    return f"{response.status_code}: {detail}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the events of a session.")
    parser.add_argument("url", help="address of the server, for example http://127.0.0.1:8000")
    parser.add_argument("session_id")
    chosen = parser.parse_args()
    parts = urlsplit(chosen.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        parser.error(f"{chosen.url} is not an HTTP address; give one like http://127.0.0.1:8000")
    try:
        for event in follow(chosen.url, chosen.session_id, os.environ.get("CAKE_KEY")):
            words = (event["id"], event["type"], event.get("label") or event.get("state"), event.get("region"))
            print(*filter(None, (*words, event.get("code"), event.get("detail"))), flush=True)  # noqa: T201
    except (InvalidStatus, ConnectionClosedError) as error:
        sys.exit(f"follow.py: {reason(error)}")


if __name__ == "__main__":
    main()
