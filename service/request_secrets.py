"""The secrets that clients may choose for signed deliveries."""

from typing import Annotated

from pydantic import AfterValidator, Field

from service.webhooks.signature import SECRET_PATTERN, secret_key


def _usable(secret: str) -> str:
    secret_key(secret)
    return secret


WebhookSecret = Annotated[str, AfterValidator(_usable), Field(json_schema_extra={"pattern": SECRET_PATTERN})]
