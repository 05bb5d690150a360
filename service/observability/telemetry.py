"""Metrics (Prometheus). None of them has a URL or a session id as a label."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics

from service.observability.score_metrics import ScoreMetrics
from service.store.subscription_records import TARGET_KINDS

# The time at which each series was created is useless, and doubles the number of series.
disable_created_metrics()  # type: ignore[no-untyped-call]
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32)


class ApiMetrics:
    """Metrics of a server process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.build = Info("cake_build", "Version of the server.", registry=registry)
        self.request_seconds = Histogram(
            "cake_http_request_duration_seconds",
            "Time until the response is complete, by method, route and status. Event streams are not included.",
            ["method", "route", "status"],
            registry=registry,
            buckets=LATENCY_BUCKETS_S,
        )
        self.followers = Gauge(
            "cake_event_followers",
            "Clients that follow events or watch live video, by transport.",
            ["transport"],
            registry=registry,
        )
        self.slow_clients = Counter(
            "cake_slow_clients_total",
            "Clients that were disconnected because they fell behind, by transport.",
            ["transport"],
            registry=registry,
        )
        self.rejected_connections = Counter(
            "cake_rejected_connections_total",
            "Requests rejected because too many connections were open.",
            registry=registry,
        )
        self.delivery_seconds = Histogram(
            "cake_event_delivery_seconds",
            "Time from an event's decision until it is passed to its followers.",
            registry=registry,
            buckets=LATENCY_BUCKETS_S,
        )
        self.feedback = Counter(
            "cake_feedback_total",
            "Verdicts on events, and missed actions, by model, label and verdict: right, wrong, missed.",
            ["model", "label", "verdict"],
            registry=registry,
        )
        self.upload_bytes = Counter("cake_upload_bytes_total", "Bytes of uploaded video received.", registry=registry)
        self.webhook_deliveries = Counter(
            "cake_webhook_deliveries_total",
            "Webhook deliveries by outcome: delivered, failed (retried later), given_up.",
            ["outcome"],
            registry=registry,
        )
        # Prometheus sees no increase in a counter that appears with the value 1, so alerts would miss the first event.
        for outcome in ("delivered", "failed", "given_up"):
            self.webhook_deliveries.labels(outcome)
        self.webhooks_pending = Gauge(
            "cake_webhooks_pending", "Webhooks with undelivered events, except disabled ones.", registry=registry
        )
        self.webhooks_oldest = Gauge(
            "cake_webhooks_oldest_seconds", "Age of the oldest undelivered event.", registry=registry
        )
        self.subscription_deliveries = Counter(
            "cake_subscription_deliveries_total",
            "Subscription deliveries by kind of target and outcome: delivered, failed (retried later), given_up.",
            ["target", "outcome"],
            registry=registry,
        )
        for target in TARGET_KINDS:
            for outcome in ("delivered", "failed", "given_up"):
                self.subscription_deliveries.labels(target, outcome)
        self.subscriptions_pending = Gauge(
            "cake_subscriptions_pending",
            "Subscriptions with an undelivered event or a failing target; only on the server that delivers.",
            registry=registry,
        )
        self.subscriptions_oldest = Gauge(
            "cake_subscriptions_oldest_seconds",
            "Longest wait of these subscriptions: since the event, or since the target began to fail.",
            registry=registry,
        )
        self.subscriptions_failing = Gauge(
            "cake_subscriptions_failing",
            "Subscriptions whose target rejected the last event or cannot be reached.",
            registry=registry,
        )
        self.poison = Counter(
            "cake_poison_total",
            "Items that raised an unexpected exception and were set aside, by place.",
            ["where"],
            registry=registry,
        )
        self.worker_restarts = Counter(
            "cake_worker_restarts_total", "Worker processes that died and were restarted.", registry=registry
        )
        self.sessions = Gauge("cake_sessions", "Sessions in the store, by state.", ["state"], registry=registry)
        self.store_up = Gauge(
            "cake_store_up", "Whether the store answered during this scrape: 1 or 0.", registry=registry
        )
        self.disk_free = Gauge("cake_disk_free_bytes", "Free space on the disk of the data folder.", registry=registry)
        self.database_bytes = Gauge(
            "cake_database_bytes", "Size of the SQLite database with its log; NaN with Redis.", registry=registry
        )
        self.workers = Gauge("cake_workers", "Workers that hold a lease.", registry=registry)
        self.unconfined_workers = Gauge(
            "cake_unconfined_workers",
            "Workers whose decoders lack a mechanism of confinement; `cake_confinement` names it.",
            registry=registry,
        )
        self.capacity = Gauge(
            "cake_capacity_steps_per_second",
            "Detector steps per second that all live workers offer together.",
            registry=registry,
        )
        self.reserved = Gauge(
            "cake_reserved_steps_per_second",
            "Detector steps per second reserved for sessions that have not ended.",
            registry=registry,
        )


class WorkerMetrics:
    """Metrics of a worker process.

    With PROMETHEUS_MULTIPROC_DIR set, as the supervisor does for its workers, they are written to files, and /metrics
    of the server adds them up over all workers, including those that died.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.frames = Counter("cake_frames_total", "Frames analysed, by model.", ["model"], registry=registry)
        self.dropped = Counter(
            "cake_frames_dropped_total",
            "Frames of live sources that were dropped before analysis, by reason.",
            ["reason"],
            registry=registry,
        )
        self.events = Counter(
            "cake_events_total",
            "Events committed to the store, by type, model and label; session events have no label.",
            ["type", "model", "label"],
            registry=registry,
        )
        self.ended = Counter(
            "cake_sessions_ended_total",
            "Ended sessions, by final state and failure code.",
            ["state", "code"],
            registry=registry,
        )
        self.ended.labels("failed", "internal")
        self.decoder_restarts = Counter(
            "cake_decoder_restarts_total", "Decoder processes that died and were replaced.", registry=registry
        )
        self.quiet_misses = Counter(
            "cake_quiet_misses_total",
            "How often something moved in front of a camera while its frames were not decoded (CAKE_QUIET).",
            registry=registry,
        )
        self.reconnects = Counter("cake_source_reconnects_total", "Reconnects of live sources.", registry=registry)
        # Not `cake_poison_total`: an embedded server's page holds the families of both.
        self.poison = Counter(
            "cake_worker_poison_total",
            "Items that raised an unexpected exception in a worker and were set aside, by place.",
            ["where"],
            registry=registry,
        )
        self.batch = Histogram(
            "cake_step_batch_size",
            "Sessions in one model call.",
            ["model"],
            registry=registry,
            buckets=BATCH_BUCKETS,
        )
        self.scores = ScoreMetrics(registry)
        self.decode_seconds = _latency("cake_decode_seconds", "Time to decode one analysed frame.", registry)
        self.queue_seconds = _latency("cake_queue_seconds", "Time a frame waits for its model call.", registry)
        self.infer_seconds = _latency("cake_infer_seconds", "Duration of one model call.", registry)
        self.event_seconds = _latency(
            "cake_event_latency_seconds",
            "Time from a frame's arrival at the decoder until its events are committed.",
            registry,
        )
        self.commit_seconds = _latency("cake_commit_seconds", "Duration of one commit to the store.", registry)
        self.frame_age = Gauge(
            "cake_frame_age_seconds",
            "Age of the newest analysed frame, for the session that is furthest behind.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.capacity = Gauge(
            "cake_worker_capacity_steps_per_second",
            "Detector steps per second that the workers offer.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.confinement = Gauge(
            "cake_confinement",
            "Whether a kernel mechanism confines the decoders (1) or not (0); the minimum over all workers.",
            ["mechanism"],
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.running = Gauge(
            "cake_worker_sessions", "Sessions that the workers run.", registry=registry, multiprocess_mode="livesum"
        )


def _latency(name: str, help_text: str, registry: CollectorRegistry) -> Histogram:
    return Histogram(name, help_text, registry=registry, buckets=LATENCY_BUCKETS_S)
