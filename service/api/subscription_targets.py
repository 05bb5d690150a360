"""The targets of subscriptions: checked when they are created, and shown without their secrets."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import SecretStr

from service.errors import InvalidRequestError, WebhookRejectedError
from service.sources.address_policy import AddressPolicy
from service.sources.sources import SourceForbiddenError, check_host, redact
from service.store.subscription_records import (
    StoredAppriseTarget,
    StoredMqttTarget,
    StoredRedisTarget,
    StoredTarget,
    StoredWebhookTarget,
)
from service.subscription_schemas import (
    AppriseTargetInfo,
    HomeAssistantOptions,
    MqttTargetInfo,
    RedisTargetInfo,
    TargetInfo,
    TargetRequest,
    WebhookTargetInfo,
)
from service.subscriptions.notifier import MISSING, AddressUnusableError, NotificationsUnavailableError, Notifier
from service.subscriptions.target import DeliveryFailedError
from service.webhooks.signature import new_webhook_secret


async def stored_target(asked: TargetRequest, policy: AddressPolicy, notifier: Notifier) -> StoredTarget:
    """What is stored of a target. Raises WebhookRejectedError, InvalidRequestError."""
    if asked.kind == "apprise":
        _check_written_address(asked.url.get_secret_value(), policy)
        await _check_service(asked.url, notifier)
        return StoredAppriseTarget(url=asked.url, attach=asked.attach)
    # Pydantic keeps the brackets of IPv6 addresses, and capital letters in other schemes than HTTP.
    _check_host(urlsplit(str(asked.url)).hostname or "", policy)
    url = SecretStr(str(asked.url))
    if asked.kind == "mqtt":
        prefix = None if asked.home_assistant is None else asked.home_assistant.discovery_prefix
        return StoredMqttTarget(url=url, topic=asked.topic, identify=asked.identify, discovery_prefix=prefix)
    if asked.kind == "redis":
        return StoredRedisTarget(url=url, stream=asked.stream, max_entries=asked.max_entries)
    return StoredWebhookTarget(url=url, secret=SecretStr(asked.secret or new_webhook_secret()), format=asked.format)


def _check_host(host: str, policy: AddressPolicy) -> None:
    """Raises WebhookRejectedError."""
    try:
        check_host(host, policy)
    except SourceForbiddenError as error:
        raise WebhookRejectedError(
            "The target's address is not public. If it is in a private network, the operator can allow that network"
            " with CAKE_SOURCE_ALLOW."
        ) from error


def _check_written_address(url: str, policy: AddressPolicy) -> None:
    """Refuse a service that is written as an address; where other hosts and names lead is known when it connects.

    Many services have a token in place of a host, which may be a number. Raises WebhookRejectedError.
    """
    try:
        host = urlsplit(url).hostname or ""
        is_address = host == "localhost" or bool(ip_address(host))
    except ValueError:
        return
    if is_address:
        _check_host(host, policy)


async def _check_service(url: SecretStr, notifier: Notifier) -> None:
    """Raises InvalidRequestError."""
    try:
        await notifier.check(url.get_secret_value())
    except NotificationsUnavailableError as error:
        raise InvalidRequestError(MISSING) from error
    except AddressUnusableError as error:
        raise InvalidRequestError(
            "The target's address is incomplete or malformed. Compare it with the documentation of Apprise for this"
            " service."
        ) from error
    except DeliveryFailedError as error:
        raise InvalidRequestError(f"The target's address could not be checked: {error.reason}.") from error


def shown_target(target: StoredTarget, *, with_secret: bool) -> TargetInfo:
    """A target as callers see it."""
    if target.kind == "apprise":
        scheme = target.url.get_secret_value().partition("://")[0].lower()
        return AppriseTargetInfo(url=f"{scheme}://…", attach=target.attach)
    url = redact(target.url.get_secret_value())
    if target.kind == "mqtt":
        prefix = target.discovery_prefix
        home_assistant = None if prefix is None else HomeAssistantOptions(discovery_prefix=prefix)
        return MqttTargetInfo(url=url, topic=target.topic, identify=target.identify, home_assistant=home_assistant)
    if target.kind == "redis":
        return RedisTargetInfo(url=url, stream=target.stream, max_entries=target.max_entries)
    secret = target.secret.get_secret_value() if with_secret else None
    return WebhookTargetInfo(url=url, format=target.format, secret=secret)
