"""Traces (OpenTelemetry): an event from its frame to the clients, in the trace of the request that made its session.

Spans of requests are FastAPI's own. Without CAKE_TRACES there are none, of anything.
"""

import time
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_HEADER = "traceparent"
_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("cake")


class TracingUnavailable(Exception):
    """CAKE_TRACES is set and the libraries are not there. The message says what to do."""


def configure_tracing(service: str) -> None:
    """Send this process's spans to where the variables `OTEL_EXPORTER_OTLP_…` say. Raises TracingUnavailable.

    Spans wait in a bounded queue of the library, which leaves out what does not fit.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracingUnavailable("CAKE_TRACES needs the extra `otel`: pip install 'cake-served[otel]'.") from error
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def hide_query() -> None:
    """Of the request whose span the caller runs in: tickets are in queries."""
    trace.get_current_span().set_attribute("url.query", "…")


def current_traceparent() -> str | None:
    """Of the span that the caller runs in; None without one."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get(_HEADER)


class EventSpan:
    """From the arrival of a frame at its decoder to the commit of an event that it decided."""

    def __init__(
        self, parent: str | None, arrived_unix_s: float, parts_s: Mapping[str, float], attributes: Mapping[str, str]
    ) -> None:
        """`parts_s`: what came one after the other up to now, and how long each took."""
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
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, self._context)
        return carrier.get(_HEADER)

    def committed(self, began_unix_s: float) -> None:
        """The event is in the store; the commit began then."""
        now_unix_s = time.time()
        self._part("commit", began_unix_s, now_unix_s)
        self._span.end(_ns(now_unix_s))

    def _part(self, name: str, began_unix_s: float, ended_unix_s: float) -> None:
        _tracer.start_span(name, self._context, start_time=_ns(began_unix_s)).end(_ns(ended_unix_s))


def note_delivery(traceparent: str | None, committed_unix_s: float, followers: int) -> None:
    """An event was handed to its followers now."""
    if traceparent is not None:
        span = _tracer.start_span("deliver", _parent(traceparent), start_time=_ns(committed_unix_s))
        span.set_attribute("cake.followers", followers)
        span.end()


def _parent(traceparent: str | None) -> Context:
    return _propagator.extract({} if traceparent is None else {_HEADER: traceparent}, Context())


def _ns(unix_s: float) -> int:
    return round(unix_s * 1e9)
