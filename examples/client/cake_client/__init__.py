"""Client of CAKE, served: submit videos and follow the actions in them, synchronously or with asyncio.

with Client("http://127.0.0.1:8000") as cake:
    session = cake.submit_file("video.mp4")
    for event in cake.follow(session.id):
        print(event)
"""

from cake_client.async_client import AsyncClient
from cake_client.client import Client, OnInterruption
from cake_client.errors import (
    AccessRevokedError,
    ApiError,
    CakeError,
    Problem,
    PushInterruptedError,
    UnexpectedResponseError,
    UnreachableError,
    WebhookError,
)
from cake_client.event_filter import EventFilter
from cake_client.feedback import Feedback
from cake_client.model_methods import AsyncModels, Models
from cake_client.models import (
    ActionEnd,
    ActionStart,
    Clip,
    Event,
    EventMedia,
    EventPage,
    Latency,
    LogEntry,
    Region,
    Rule,
    Session,
    SessionGap,
    SessionState,
    Source,
    Video,
    Webhook,
    parse_event,
)
from cake_client.served_models import (
    DifferingStart,
    LabelDifference,
    ModelDetail,
    ModelList,
    ModelOnWorker,
    ModelShadow,
    ServedModel,
    SessionDifference,
    ShadowDifference,
    StartCounts,
)
from cake_client.session_rules import NearMiss, TriedEnd, TriedRules, TriedStart
from cake_client.submission import OnProgress, SessionOptions, SourceOptions
from cake_client.subscriptions import (
    AppriseTarget,
    MqttTarget,
    RedisTarget,
    Subscription,
    SubscriptionOptions,
    SubscriptionTest,
    Target,
    WebhookTarget,
)
from cake_client.version import VERSION
from cake_client.webhooks import verify_webhook

__all__ = [
    "VERSION",
    "AccessRevokedError",
    "ActionEnd",
    "ActionStart",
    "ApiError",
    "AppriseTarget",
    "AsyncClient",
    "AsyncModels",
    "CakeError",
    "Client",
    "Clip",
    "DifferingStart",
    "Event",
    "EventFilter",
    "EventMedia",
    "EventPage",
    "Feedback",
    "LabelDifference",
    "Latency",
    "LogEntry",
    "ModelDetail",
    "ModelList",
    "ModelOnWorker",
    "ModelShadow",
    "Models",
    "MqttTarget",
    "NearMiss",
    "OnInterruption",
    "OnProgress",
    "Problem",
    "PushInterruptedError",
    "RedisTarget",
    "Region",
    "Rule",
    "ServedModel",
    "Session",
    "SessionDifference",
    "SessionGap",
    "SessionOptions",
    "SessionState",
    "ShadowDifference",
    "Source",
    "SourceOptions",
    "StartCounts",
    "Subscription",
    "SubscriptionOptions",
    "SubscriptionTest",
    "Target",
    "TriedEnd",
    "TriedRules",
    "TriedStart",
    "UnexpectedResponseError",
    "UnreachableError",
    "Video",
    "Webhook",
    "WebhookError",
    "WebhookTarget",
    "parse_event",
    "verify_webhook",
]
