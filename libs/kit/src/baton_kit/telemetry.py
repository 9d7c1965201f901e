"""Logs as events with fields, one trace from the request to the last consumer, and the metrics an operator watches."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import structlog
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
from prometheus_client import Counter, Gauge, Histogram

log: structlog.stdlib.BoundLogger = structlog.get_logger("baton")
tracer = trace.get_tracer("baton")

CAUSES: ContextVar[Mapping[str, str]] = ContextVar("causes", default=MappingProxyType({}))
"""Key to the `traceparent` of the event being applied: what a handler appends for that key continues its trace."""

OUTBOX_APPENDED = Counter("baton_outbox_appended_total", "Events appended to the outbox by this process")
OUTBOX_PUBLISHED = Counter("baton_outbox_published_total", "Events acknowledged by Kafka", ["lane"])
OUTBOX_AGE = Gauge("baton_outbox_age_seconds", "Age of the oldest event not yet published", ["lane"])
OUTBOX_RING_FULL = Gauge("baton_outbox_ring_full", "1 while the next slot of the ring is not empty", ["lane"])
OUTBOX_NOT_ON_TOPIC = Gauge(
    "baton_outbox_not_on_topic", "Published events that their topic does not hold; 0, or somebody must look", ["lane"]
)
RELAY_LEADER = Gauge("baton_relay_leader", "1 while this process holds the lane's lease", ["lane"])
OLDEST_TRANSACTION = Gauge(
    "baton_db_oldest_transaction_seconds", "Age of the oldest transaction that holds the snapshot back"
)
PREPARED_TRANSACTIONS = Gauge(
    "baton_db_prepared_transactions", "Prepared transactions; each one holds the snapshot back"
)
CONSUMED = Counter(
    "baton_consumed_total",
    "Events by outcome: applied, ignored, parked, blocked, duplicate, unrouted",
    ["consumer", "outcome"],
)
LAG = Gauge("baton_consumer_lag", "Events on the topic that are not yet applied", ["consumer", "topic", "partition"])
PARKED = Gauge("baton_parked", "Events that wait for a person", ["consumer"])
BATCH_SECONDS = Histogram(
    "baton_batch_seconds",
    "Time to apply one batch, its commit included",
    ["consumer"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
RETRIES = Counter("baton_consumer_retries_total", "Repeats of a batch or event after an error", ["consumer", "kind"])


def configure(
    *, service: str, role: str, log_level: str, otlp_endpoint: str | None, sample_ratio: float
) -> TracerProvider:
    """Set up logging and tracing of this process; returns the provider, to be shut down at the end."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            _add_trace,
            _add_error,
            structlog.processors.JSONRenderer(sort_keys=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, log_level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, role=role)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Wordless("%(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # aiokafka logs each expected rebalance and reconnection as an error; the consumer reports what matters itself.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    provider = TracerProvider(
        resource=Resource.create({"service.name": service, "baton.role": role}),
        sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
    )
    if otlp_endpoint:
        # Imported only where traces go out: it is a tenth of the time a process takes to start.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint)))
    trace.set_tracer_provider(provider)
    return provider


class _Wordless(logging.Formatter):
    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is the library's
        return describe(ei[1])


def describe(error: BaseException | None) -> str:
    """Return where an error came from and of which kinds it is, without its words: they may quote a person's data."""
    lines: list[str] = []
    _describe(error, lines, set())
    return "\n".join(lines)


def _describe(error: BaseException | None, lines: list[str], seen: set[int]) -> None:
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    _describe(error.__cause__ or (None if error.__suppress_context__ else error.__context__), lines, seen)
    lines.append(f"{type(error).__module__}.{type(error).__qualname__}")
    frames = traceback.extract_tb(error.__traceback__)
    lines.extend(f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            _describe(one, lines, seen)


def _add_error(_logger: object, _name: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    found = entry.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()[1]
    if isinstance(found, tuple):
        found = found[1]
    if isinstance(found, BaseException):
        entry["exception"] = describe(found)
    return entry


def _add_trace(_logger: object, _name: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    found = trace.get_current_span().get_span_context()
    if found.is_valid:
        entry["trace_id"] = f"{found.trace_id:032x}"
    return entry


def trace_id() -> str | None:
    """Return the current trace id as 32 hex digits."""
    found = trace.get_current_span().get_span_context()
    return f"{found.trace_id:032x}" if found.is_valid else None


def traceparent() -> str | None:
    """Return the current span as a W3C `traceparent`, to travel with an event."""
    found = trace.get_current_span().get_span_context()
    if not found.is_valid:
        return None
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"


def parse_traceparent(value: str | None) -> SpanContext | None:
    """Return the span a `traceparent` names, or None for anything that is not one (W3C Trace Context, 3.2)."""
    if value is None:
        return None
    parts = value.strip().split("-")
    if len(parts) < 4 or [len(p) for p in parts[:4]] != [2, 32, 16, 2] or parts[0] == "ff":
        return None
    try:
        found = SpanContext(
            int(parts[1], 16), int(parts[2], 16), is_remote=True, trace_flags=TraceFlags(int(parts[3], 16))
        )
    except ValueError:
        return None
    return found if found.is_valid else None


def cause(header: str | None) -> str:
    """Return the `traceparent` that a request came with, or a new one that nobody samples: every event has a trace id.

    For the hottest paths, where a span would cost more than the work.
    """
    if header is not None and parse_traceparent(header) is not None:
        return header.strip()
    return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-00"


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: str | None = None,
    links: list[str | None] | None = None,
) -> Iterator[Span]:
    """Open a span, below the `traceparent` given, or else below the current one; `links` are other traces it serves."""
    remote = parse_traceparent(parent)
    under = trace.set_span_in_context(NonRecordingSpan(remote)) if remote else otel_context.get_current()
    linked = [Link(found) for found in map(parse_traceparent, links or []) if found]
    with tracer.start_as_current_span(name, context=under, kind=kind, links=linked) as opened:
        yield opened
