"""`cake subscriptions`: where a server delivers the events of many sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.client import LOCAL, Json, Server, connected_client
from service.cli.metadata import metadata_pairs
from service.cli.terminal import FAILED, MISUSED, fail

if TYPE_CHECKING:
    from cake_client import Subscription
    from cake_client.subscriptions import NewTarget

subscriptions_app = typer.Typer(
    no_args_is_help=True, help="Deliver the events of many sessions to webhooks, MQTT, Redis and people."
)
SubscriptionId = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="Id of the subscription.")]
Values = list[str] | None


@subscriptions_app.command("list")
def print_subscriptions(server: Server = LOCAL, as_json: Json = False) -> None:
    """List the subscriptions of the API key and the progress of their delivery."""
    with connected_client(server) as client:
        found = client.subscriptions()
    if as_json:
        for subscription in found:
            typer.echo(subscription.model_dump_json())
        return
    from service.cli.tables import print_table

    print_table(("id", "name", "state", "target", "delivered", "error"), map(_row, found), numbers=("delivered",))


@subscriptions_app.command()
def add(
    url: Annotated[
        str,
        typer.Argument(
            help="Webhook (http, https), broker (mqtt, mqtts), Redis (redis, rediss) or people, such as tgram://…"
        ),
    ],
    server: Server = LOCAL,
    name: Annotated[str | None, typer.Option(help="Name of the subscription.", show_default=False)] = None,
    label: Annotated[Values, typer.Option(help="Only events of this action; may be repeated.")] = None,
    event_type: Annotated[
        Values,
        typer.Option("--type", metavar="TYPE", help="Only events of this type, such as action.start; may be repeated."),
    ] = None,
    session: Annotated[Values, typer.Option(help="Only events of this session; may be repeated.")] = None,
    session_name: Annotated[Values, typer.Option(help="Only sessions of this name; may be repeated.")] = None,
    metadata: Annotated[
        Values, typer.Option(metavar="KEY=VALUE", help="Only sessions with this metadata; may be repeated.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Only starts and ends with at least this score.", show_default=False)
    ] = None,
    cooldown_s: Annotated[
        float | None, typer.Option(help="Minimum time between two actions of a label, in seconds.", show_default=False)
    ] = None,
    body: Annotated[
        str | None,
        typer.Option(
            "--format", help="Body of a webhook: standard, cloudevents or cloudevents-binary.", show_default=False
        ),
    ] = None,
    stream: Annotated[
        str | None, typer.Option(help="Key of the stream in Redis. Default: cake:events.", show_default=False)
    ] = None,
    topic: Annotated[str | None, typer.Option(help="First levels of MQTT topics.", show_default=False)] = None,
    by_name: Annotated[bool, typer.Option("--by-name", help="Use names of sessions in MQTT topics.")] = False,
    home_assistant: Annotated[
        bool, typer.Option("--home-assistant", help="Announce the sessions to Home Assistant.")
    ] = False,
    attach: Annotated[
        bool,
        typer.Option("--attach/--no-attach", help="Send stills and clips to people, if the service takes them."),
    ] = True,
    as_json: Json = False,
) -> None:
    """Deliver events from now on, and print the id. The secret of a webhook is printed to stderr, only this once."""
    from cake_client import AppriseTarget, MqttTarget, RedisTarget, SubscriptionOptions, WebhookTarget

    values: dict[str, list[str]] = {}
    for key, value in metadata_pairs(metadata):
        values.setdefault(key, []).append(value)
    options = SubscriptionOptions(
        name=name,
        labels=label or (),
        types=event_type or (),
        sessions=session or (),
        session_names=session_name or (),
        metadata=values,
        min_score=min_score,
        cooldown_s=cooldown_s,
    )
    is_redis = url.startswith(("redis:", "rediss:"))
    is_webhook, is_broker = url.startswith(("http:", "https:")), url.startswith(("mqtt:", "mqtts:"))
    if body is not None and not is_webhook:
        fail("--format is for webhooks", MISUSED)
    if not is_broker and (topic is not None or by_name or home_assistant):
        fail("--topic, --by-name and --home-assistant are for MQTT brokers", MISUSED)
    if stream is not None and not is_redis:
        fail("--stream is for Redis", MISUSED)
    if not attach and (is_webhook or is_broker or is_redis):
        fail("--no-attach is for services for people", MISUSED)
    target: NewTarget = AppriseTarget(url, attach=attach)
    if is_webhook:
        target = WebhookTarget(url, format=body)
    elif is_redis:
        target = RedisTarget(url, stream=stream)
    elif is_broker:
        target = MqttTarget(url, topic=topic, identify="name" if by_name else None, home_assistant=home_assistant)
    with connected_client(server) as client:
        subscription = client.subscribe(target, options)
    if as_json:
        typer.echo(subscription.model_dump_json())
        return
    typer.echo(subscription.id)
    if subscription.target.secret is not None:
        typer.echo(f"secret: {subscription.target.secret}", err=True)


@subscriptions_app.command("test")
def send_test(subscription: SubscriptionId, server: Server = LOCAL, as_json: Json = False) -> None:
    """Send a test message now. Exit status 1: the target did not accept it."""
    with connected_client(server) as client:
        outcome = client.test_subscription(subscription)
    if as_json:
        typer.echo(outcome.model_dump_json())
    elif outcome.delivered:
        typer.echo(f"delivered in {outcome.duration_s:.3f} s")
    else:
        fail(f"the target did not accept the test message: {outcome.failure}", FAILED)
    if not outcome.delivered:
        raise typer.Exit(FAILED)


@subscriptions_app.command()
def pause(subscription: SubscriptionId, server: Server = LOCAL, as_json: Json = False) -> None:
    """Stop delivery until the subscription is resumed; its position in the log is kept."""
    with connected_client(server) as client:
        _print_state(client.pause_subscription(subscription), as_json)


@subscriptions_app.command()
def resume(
    subscription: SubscriptionId,
    server: Server = LOCAL,
    skip_missed: Annotated[bool, typer.Option("--skip-missed", help="Leave out the events since the pause.")] = False,
    as_json: Json = False,
) -> None:
    """Continue a subscription that is paused or disabled, or retry immediately."""
    with connected_client(server) as client:
        _print_state(client.resume_subscription(subscription, skip_missed=skip_missed), as_json)


@subscriptions_app.command("rotate-secret")
def rotate_secret(subscription: SubscriptionId, server: Server = LOCAL, as_json: Json = False) -> None:
    """Replace the secret of a webhook, and print the new one. For a day, deliveries are signed with both."""
    with connected_client(server) as client:
        rotated = client.rotate_subscription_secret(subscription)
    typer.echo(rotated.model_dump_json() if as_json else rotated.target.secret)


@subscriptions_app.command()
def delete(subscription: SubscriptionId, server: Server = LOCAL) -> None:
    """Delete a subscription with its secrets."""
    with connected_client(server) as client:
        client.delete_subscription(subscription)


def _print_state(subscription: Subscription, as_json: bool) -> None:
    typer.echo(subscription.model_dump_json() if as_json else subscription.state)


def _row(subscription: Subscription) -> tuple[str, ...]:
    target = subscription.target
    delivered = str(subscription.delivered)
    error = subscription.last_error or ""
    return subscription.id, subscription.name or "", subscription.state, target.url, delivered, error
