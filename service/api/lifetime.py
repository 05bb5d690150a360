"""What a server process opens and runs while it serves: the context of the routes, deliveries and regular work."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import httpcore
import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from service.access.keys import ApiKey
from service.api.confinement import ConfinementWatch
from service.api.context import Context
from service.api.cuts import Cuts
from service.api.data_folder import forget_dead_workers, lock_folder
from service.api.expired_keys import ExpiredKeys
from service.api.limits import OpenStreams
from service.api.stills_and_clips import EventStillsAndClips
from service.api.store_answers import StoreAnswers
from service.api.supervisor import Supervisor, WorkerConfigurationError
from service.api.unowned import UnownedSessions
from service.api.unserved import UnservedSessions
from service.background import background_task, repeat
from service.feed.fanout import Feed
from service.observability.audit import AuditActor, AuditLog
from service.observability.telemetry import ApiMetrics
from service.settings import Settings
from service.sources.authorities import write_authorities
from service.storage.blobs import Blobs, warn_of_separate_folders
from service.storage.clip_retention import ClipRetention
from service.storage.deletion import OrphanSweep
from service.storage.disk import Disk
from service.storage.model_sweep import ModelSweep
from service.storage.retention import Retention
from service.storage.stored_size import StoredSize
from service.store import database_bytes, open_store
from service.store.subscription_records import MAX_SUBSCRIPTIONS
from service.subscriptions.deliverer import SubscriptionDeliverer
from service.subscriptions.notifier import Notifier
from service.subscriptions.targets import TargetOpener
from service.webhooks.delivery import Deliverer
from service.webhooks.http_client import open_pool
from service.webhooks.lanes import MAX_HANGING, MAX_LANES

if TYPE_CHECKING:
    from service.api.people import People

Work = Callable[[], Coroutine[None, None, None]]
"""What runs for the lifetime of the server."""
_log = structlog.get_logger(__name__)
RETRY_S = 30.0
MAX_CONNECTIONS = MAX_LANES + MAX_HANGING + MAX_SUBSCRIPTIONS
"""Connections of webhooks and subscriptions: so many that no receiver waits for hanging ones."""


@asynccontextmanager
async def serving(
    app: FastAPI, settings: Settings, metrics: ApiMetrics, registry: CollectorRegistry, own_key: ApiKey
) -> AsyncIterator[None]:
    """Put the context of the routes into `app.state`, and work in the background. If a task fails, the server exits."""
    async with AsyncExitStack() as stack:
        stack.enter_context(lock_folder(settings.data_dir))
        if not app.state.first_workers:
            forget_dead_workers(settings)
        pool = await stack.enter_async_context(
            open_pool(settings.address_policy, max_connections=MAX_CONNECTIONS, authorities=settings.source_ca)
        )
        context = _open_context(stack, app, settings, metrics, registry, own_key, pool)
        if settings.identifies_people:
            context = replace(context, people=_people(stack, context))
        app.state.context = context
        await stack.enter_async_context(_running(app, context.feed.run))
        for work in (*_deliveries(context, pool), *_regular_work(context)):
            await stack.enter_async_context(_running(app, work))
        supervisor = Supervisor(settings, context.store.workers, metrics.worker_restarts, app.state.first_workers)
        await stack.enter_async_context(_running(app, supervisor.run))
        yield


def _open_context(
    stack: AsyncExitStack,
    app: FastAPI,
    settings: Settings,
    metrics: ApiMetrics,
    registry: CollectorRegistry,
    own_key: ApiKey,
    pool: httpcore.AsyncConnectionPool,
) -> Context:
    """Open the store and the files. The stack closes them."""
    store = open_store(
        settings.resolved_store_url,
        scores_keep_s=settings.scores_keep_s,
        count_unreadable=lambda kind: metrics.poison.labels(f"stored_{kind}").inc(),
    )
    stack.push_async_callback(store.close)
    answers = StoreAnswers(store.workers)
    stack.push_async_callback(answers.close)
    warn_of_separate_folders(settings.resolved_store_url, settings.blob_url)
    blobs = Blobs(settings.blob_url, settings.data_dir)
    blobs.prepare()
    blobs.remove_incomplete()
    disk = Disk(settings.data_dir, settings.min_free_bytes)
    metrics.disk_free.set_function(disk.free_bytes)
    metrics.database_bytes.set_function(lambda: database_bytes(settings.resolved_store_url))
    audit = AuditLog(settings.audit_path)
    stack.callback(audit.close)
    if settings.source_ca is not None:
        write_authorities(settings.source_ca, settings.authorities)
    cuts = Cuts(blobs, settings, None if settings.blob_url else disk)
    targets = TargetOpener(
        pool,
        settings.address_policy,
        settings.source_ca,
        store.sessions,
        blobs,
        Notifier(settings.address_policy, settings.authorities),
        EventStillsAndClips(store.sessions, blobs, cuts),
    )
    return Context(
        settings,
        store,
        Feed(store.log, metrics.delivery_seconds, metrics.poison),
        blobs,
        disk,
        metrics,
        registry,
        own_key,
        audit,
        StoredSize(blobs),
        OpenStreams(settings.max_streams),
        app.state.auth,
        targets,
        cuts,
        answers,
    )


def _people(stack: AsyncExitStack, context: Context) -> "People":
    """What identifies people. The stack closes its connections to the identity provider."""
    # Imported only where people are identified, so that it costs nothing elsewhere.
    from service.api.people import People

    settings = context.settings
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        return People(settings, context.store, context.key_uses, None)
    from service.identity.provider import IdentityProvider

    secret = settings.oidc_client_secret_file
    provider = IdentityProvider(
        settings.oidc_issuer,
        settings.oidc_client_id,
        None if secret is None else secret.read_text().strip(),
        groups_claim=settings.oidc_groups_claim,
        authorities=settings.authorities,
    )
    stack.push_async_callback(provider.close)
    return People(settings, context.store, context.key_uses, provider)


def _deliveries(context: Context, pool: httpcore.AsyncConnectionPool) -> Iterator[Work]:
    """Yield what passes events on to webhooks and subscriptions."""
    if not context.settings.deliver_webhooks:
        return
    store, metrics = context.store, context.metrics
    yield Deliverer(store.outbox, store.log, pool, metrics.webhook_deliveries, metrics.poison).run
    deliverer = SubscriptionDeliverer(
        store, context.feed, context.targets.open, metrics.subscription_deliveries, metrics.poison
    )
    metrics.subscriptions_pending.set_function(lambda: deliverer.backlog().pending)
    metrics.subscriptions_oldest.set_function(lambda: deliverer.backlog().oldest_s)
    metrics.subscriptions_failing.set_function(lambda: deliverer.backlog().failing)
    yield deliverer.run


def _regular_work(context: Context) -> Iterator[Work]:
    """Yield what deletes, checks and expires at intervals."""
    settings, store, blobs = context.settings, context.store, context.blobs
    metrics, audit = context.metrics, context.audit
    retention = Retention(
        store.sessions,
        blobs,
        context.disk,
        metrics.poison,
        keep_s=settings.keep_ended_s,
        delete_when_low=settings.delete_oldest_when_full,
        note_deleted=lambda session, reason: audit.record(
            "session.delete", AuditActor(), session=session, reason=reason
        ),
    )
    clips = ClipRetention(
        blobs, keep_s=settings.clips_keep_s, keep_of_s=settings.clips_keep_of_s, max_bytes=settings.clips_max_bytes
    )
    for name, step in (
        ("retention", retention.sweep_regularly),
        ("old clips", clips.sweep_regularly),
        ("orphaned files", OrphanSweep(store.sessions, blobs).sweep_daily),
        ("unowned sessions", UnownedSessions(store).check),
        ("unserved sessions", UnservedSessions(store).check),
        ("confinement", ConfinementWatch(store.workers, metrics.unconfined_workers).check),
        ("replaced models", ModelSweep(store, blobs.models).check),
        ("expired keys", ExpiredKeys(store, audit).check),
    ):
        yield partial(repeat, step, name=name, retry_s=RETRY_S, poison=metrics.poison)


@asynccontextmanager
async def _running(app: FastAPI, work: Work) -> AsyncIterator[None]:
    """A background task for the lifetime of the server. If it fails, the server exits."""
    try:
        async with background_task(work()) as task:
            task.add_done_callback(lambda task: _end_server_after_failure(app, task))
            yield
    except* WorkerConfigurationError:
        # The worker logged the reason; a traceback would hide it.
        _log.critical("a worker cannot start with these settings, the server exits")


def _end_server_after_failure(app: FastAPI, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        app.state.failed = True
        if not (isinstance(error, ExceptionGroup) and error.subgroup(WorkerConfigurationError)):
            _log.critical("a background task failed, the server exits", exc_info=error)
        signal.raise_signal(signal.SIGTERM)
