"""OpenTelemetry traces of events, from frame to clients, within the trace of the request that created the session.

FastAPI creates the spans of requests. Without CAKE_TRACES there are no spans.
"""

import time
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_HEADER = "traceparent"
_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("cake")


class TracingUnavailableError(Exception):
    """CAKE_TRACES is set, but OpenTelemetry is not installed. The message says what to do."""


def configure_tracing(service: str) -> None:
    """Export this process's spans as the OTEL_EXPORTER_OTLP_ variables configure. Raises TracingUnavailableError.

    The library queues spans and drops those that exceed its queue.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracingUnavailableError(
            "CAKE_TRACES needs the extra `otel`. Install it in CAKE's source folder: pip install '.[otel]'"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def hide_query() -> None:
    """Remove the query from the current request's span, since it can hold a ticket."""
    trace.get_current_span().set_attribute("url.query", "…")


def current_traceparent() -> str | None:
    """The traceparent of the current span, or None without one."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get(_HEADER)


class EventSpan:
    """The span from a frame's arrival at the decoder to the commit of an event decided on that frame."""

    def __init__(
        self, parent: str | None, arrived_unix_s: float, parts_s: Mapping[str, float], attributes: Mapping[str, str]
    ) -> None:
        """`parts_s`: the consecutive phases up to now, and how long each took, in seconds."""
        self._span = _tracer.start_span(
            "event", _parent(parent), attributes=dict(attributes), start_time=_ns(arrived_unix_s)
        )
        self._context = trace.set_span_in_context(self._span, Context())
        began_unix_s = time.time() - sum(parts_s.values())
        for name, duration_s in parts_s.items():
            self._part(name, began_unix_s, began_unix_s + duration_s)
            began_unix_s += duration_s

    @property
    def traceparent(self) -> str | None:
        """W3C trace context of the span; None without tracing."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, self._context)
        return carrier.get(_HEADER)

    def committed(self, began_unix_s: float) -> None:
        """End the span: the commit began at `began_unix_s`, and the event is now stored."""
        now_unix_s = time.time()
        self._part("commit", began_unix_s, now_unix_s)
        self._span.end(_ns(now_unix_s))

    def _part(self, name: str, began_unix_s: float, ended_unix_s: float) -> None:
        _tracer.start_span(name, self._context, start_time=_ns(began_unix_s)).end(_ns(ended_unix_s))


def note_delivery(traceparent: str | None, committed_unix_s: float, followers: int) -> None:
    """Record that an event was passed to its followers now."""
    if traceparent is not None:
        span = _tracer.start_span("deliver", _parent(traceparent), start_time=_ns(committed_unix_s))
        span.set_attribute("cake.followers", followers)
        span.end()


def _parent(traceparent: str | None) -> Context:
    return _propagator.extract({} if traceparent is None else {_HEADER: traceparent}, Context())


def _ns(unix_s: float) -> int:
    return round(unix_s * 1e9)
