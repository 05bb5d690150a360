"""Verification of webhook deliveries, for receivers."""

from collections.abc import Mapping, Sequence

from standardwebhooks import Webhook, WebhookVerificationError

from cake_client.errors import WebhookError
from cake_client.models import Event, parse_event


def verify_webhook(secrets: str | Sequence[str], headers: Mapping[str, str], body: bytes) -> Event:
    """The event of a delivery whose signature is valid and at most five minutes old.

    `secrets`: `webhook.secret` of the session, or several while one is being replaced. `headers` in any case. A
    delivery can arrive twice: store (`session_id`, `id`) of each event to recognise repetitions. Raises WebhookError,
    and ValueError for a string that is not a secret.
    """
    candidates = [Webhook(secret) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    for webhook in candidates:
        try:
            webhook.verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, ValueError):  # A ValueError: the signature or the body is malformed.
            continue
        return parse_event(body)
    raise WebhookError("The delivery has no valid signature, or it is older than five minutes. Answer it with 400.")
