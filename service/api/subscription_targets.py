"""The targets of subscriptions: checked when they are created, and shown without their secrets."""

from pydantic import SecretStr

from service.errors import WebhookRejectedError
from service.sources.address_policy import AddressPolicy
from service.sources.sources import SourceForbiddenError, check_host, redact
from service.store.subscription_records import StoredMqttTarget, StoredTarget, StoredWebhookTarget
from service.subscription_schemas import (
    HomeAssistantOptions,
    MqttTargetInfo,
    MqttTargetRequest,
    WebhookTargetInfo,
    WebhookTargetRequest,
)
from service.webhooks.signature import new_webhook_secret


def stored_target(asked: WebhookTargetRequest | MqttTargetRequest, policy: AddressPolicy) -> StoredTarget:
    """What is stored of a target. Raises WebhookRejectedError."""
    try:
        check_host(asked.url.host or "", policy)
    except SourceForbiddenError as error:
        raise WebhookRejectedError(
            "The target's address is not public. If it is in a private network, the operator can allow that network"
            " with CAKE_SOURCE_ALLOW."
        ) from error
    url = SecretStr(str(asked.url))
    if asked.kind == "mqtt":
        prefix = None if asked.home_assistant is None else asked.home_assistant.discovery_prefix
        return StoredMqttTarget(url=url, topic=asked.topic, identify=asked.identify, discovery_prefix=prefix)
    return StoredWebhookTarget(url=url, secret=SecretStr(asked.secret or new_webhook_secret()), format=asked.format)


def shown_target(target: StoredTarget, *, with_secret: bool) -> WebhookTargetInfo | MqttTargetInfo:
    """A target as callers see it."""
    url = redact(target.url.get_secret_value())
    if target.kind == "mqtt":
        prefix = target.discovery_prefix
        home_assistant = None if prefix is None else HomeAssistantOptions(discovery_prefix=prefix)
        return MqttTargetInfo(url=url, topic=target.topic, identify=target.identify, home_assistant=home_assistant)
    secret = target.secret.get_secret_value() if with_secret else None
    return WebhookTargetInfo(url=url, format=target.format, secret=secret)
