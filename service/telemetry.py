"""Logs (structlog) and metrics (Prometheus, prefix `cake_`, never a URL or a session id as a label)."""

import logging
import re
import sys
from typing import TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from structlog.typing import EventDict, Processor, WrappedLogger

from service.sources import redact

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32)
# The secrets of API keys, and tickets: uvicorn logs the whole path of a WebSocket.
_CREDENTIAL = re.compile(r"(\bcake_[0-9a-f]{16}_|[?&]ticket=)[\w-]+")


def _redact_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Secrets in URLs and keys reach no log line, wherever they stand: fields, messages or tracebacks."""
    for key, value in event.items():
        if not key.startswith("_") and not isinstance(value, bool | int | float | None):
            event[key] = _CREDENTIAL.sub(r"\1…", redact(value if isinstance(value, str) else str(value)))
    return event


def configure_logging(level: str = "INFO", *, as_json: bool | None = None, stream: TextIO = sys.stderr) -> None:
    """Send structlog's and the standard library's logs to `stream`, one line each; JSON unless it is a terminal."""
    as_json = not stream.isatty() if as_json is None else as_json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _redact_values,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True


class ApiMetrics:
    """Metrics of a server process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.request_seconds = Histogram(
            "cake_http_request_duration_seconds",
            "Time to the end of the answer; streams are left out.",
            ["method", "route", "status"],
            registry=registry,
            buckets=LATENCY_BUCKETS_S,
        )
        self.followers = Gauge("cake_event_followers", "Clients that follow events.", ["transport"], registry=registry)
        self.slow_clients = Counter(
            "cake_slow_clients_total", "Clients closed since they did not keep up.", ["transport"], registry=registry
        )
        self.delivery_seconds = Histogram(
            "cake_event_delivery_seconds",
            "From an event's decision to its hand-over to the followers.",
            registry=registry,
            buckets=LATENCY_BUCKETS_S,
        )
        self.upload_bytes = Counter("cake_upload_bytes_total", "Bytes of video received.", registry=registry)
        self.webhook_deliveries = Counter(
            "cake_webhook_deliveries_total",
            "Events posted to webhooks: delivered, failed, given_up.",
            ["outcome"],
            registry=registry,
        )
        self.worker_restarts = Counter("cake_worker_restarts_total", "Workers that died.", registry=registry)
        self.sessions = Gauge("cake_sessions", "Sessions by state.", ["state"], registry=registry)
        self.store_up = Gauge("cake_store_up", "Whether the store answered this scrape.", registry=registry)
        self.workers = Gauge("cake_workers", "Live workers.", registry=registry)
        self.capacity = Gauge(
            "cake_capacity_steps_per_second", "Detector steps per second of the live workers.", registry=registry
        )
        self.reserved = Gauge(
            "cake_reserved_steps_per_second", "Capacity set aside for sessions that have not ended.", registry=registry
        )


class WorkerMetrics:
    """Metrics of a worker process.

    With PROMETHEUS_MULTIPROC_DIR set (the supervisor does it for its children) they go to files which the server's
    /metrics adds up over all workers, those that died included.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.frames = Counter("cake_frames_total", "Frames analysed.", ["model"], registry=registry)
        self.dropped = Counter(
            "cake_frames_dropped_total", "Frames of live sources not analysed.", ["reason"], registry=registry
        )
        self.events = Counter("cake_events_total", "Events committed.", ["type"], registry=registry)
        self.ended = Counter(
            "cake_sessions_ended_total",
            "Sessions ended, by state and failure code.",
            ["state", "code"],
            registry=registry,
        )
        self.decoder_restarts = Counter(
            "cake_decoder_restarts_total", "Decoder processes that died.", registry=registry
        )
        self.reconnects = Counter("cake_source_reconnects_total", "Sources opened again.", registry=registry)
        self.batch = Histogram(
            "cake_step_batch_size",
            "Sessions stepped in one model call.",
            ["model"],
            registry=registry,
            buckets=BATCH_BUCKETS,
        )
        self.decode_seconds = _latency("cake_decode_seconds", "Decoding of one analysed frame.", registry)
        self.queue_seconds = _latency("cake_queue_seconds", "Wait of a frame for its model call.", registry)
        self.infer_seconds = _latency("cake_infer_seconds", "One model call.", registry)
        self.event_seconds = _latency(
            "cake_event_latency_seconds", "From a frame's arrival at the decoder to the commit of its events.", registry
        )
        self.commit_seconds = _latency("cake_commit_seconds", "One commit to the store.", registry)
        self.frame_age = Gauge(
            "cake_frame_age_seconds",
            "Age of the newest analysed frame of the session that is furthest behind.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.capacity = Gauge(
            "cake_worker_capacity_steps_per_second",
            "Detector steps per second that workers promise.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.running = Gauge(
            "cake_worker_sessions", "Sessions that workers run.", registry=registry, multiprocess_mode="livesum"
        )


def _latency(name: str, help_text: str, registry: CollectorRegistry) -> Histogram:
    return Histogram(name, help_text, registry=registry, buckets=LATENCY_BUCKETS_S)
