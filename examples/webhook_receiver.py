"""Receive webhooks, verify their signature and print each event once.

    pip install standardwebhooks
    CAKE_WEBHOOK_SECRET=whsec_… python webhook_receiver.py 8201

The secret is in the response to the submission: `webhook.secret`. If the receiver is in a private network or on the
server's machine, the server must allow that address: CAKE_SOURCE_ALLOW=127.0.0.0/8.
"""

import argparse
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

MAX_BYTES = 64 * 1024


class Receiver(BaseHTTPRequestHandler):
    webhook: ClassVar[Webhook]
    seen: ClassVar[set[str]] = set()
    """Ids of received events. A real receiver stores them together with the events."""

    def do_POST(self) -> None:
        try:
            body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), MAX_BYTES))
            event = self.webhook.verify(body, dict(self.headers.items()))
        except (WebhookVerificationError, ValueError):  # A ValueError: a header or the body is malformed.
            self.answer(400)
            return
        # An event is delivered again if the connection broke before our response arrived.
        message_id = self.headers["webhook-id"]
        if message_id not in self.seen:
            self.seen.add(message_id)
            print(event["id"], event["type"], event.get("label") or event.get("state"), flush=True)  # noqa: T201
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name in the base class
        """Print nothing but events."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Receive webhooks and print each event once.")
    parser.add_argument("port", type=int)
    port = parser.parse_args().port
    secret = os.environ.get("CAKE_WEBHOOK_SECRET", "")
    if not secret:
        parser.error("set CAKE_WEBHOOK_SECRET to `webhook.secret` from the response to the submission")
    try:
        Receiver.webhook = Webhook(secret)
    except (ValueError, EmptyWebhookSecretError) as error:
        parser.error(f"CAKE_WEBHOOK_SECRET is not a secret of a webhook: {error}")
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Receiver)
    except (OSError, OverflowError) as error:
        parser.error(f"cannot listen on port {port}: {error}")
    server.serve_forever()


if __name__ == "__main__":
    main()
