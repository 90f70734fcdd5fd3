"""Numbers for Prometheus: counted here per request, or asked of the engine when they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from synapse_engine._engine import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from synapse_engine.server.served import Registry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = {"GET", "POST", "OPTIONS", "HEAD", "PUT", "PATCH", "DELETE"}

FIRST_TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
PER_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
REQUEST_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

# Name, what it is, the engine's word for it.
GAUGES = (
    ("synapse_requests_waiting", "Requests in the queue", "waiting"),
    ("synapse_requests_running", "Requests being computed", "running"),
    ("synapse_kv_pages_used", "Pages of the KV cache that running requests use", "kv_pages_used"),
    ("synapse_kv_pages_cached", "Pages kept for prompts that begin the same; given up when needed", "kv_pages_cached"),
    ("synapse_kv_pages_total", "Pages of the KV cache", "kv_pages_total"),
)
COUNTERS = (
    ("synapse_prompt_tokens", "Tokens in prompts", "prompt_tokens_total"),
    ("synapse_completion_tokens", "Tokens generated", "completion_tokens_total"),
    ("synapse_cached_tokens", "Prompt tokens taken from the prefix cache", "cached_tokens_total"),
    ("synapse_drafted_tokens", "Tokens that speculation drafted and the model checked", "drafted_tokens_total"),
    ("synapse_accepted_tokens", "Drafted tokens that came true and saved a pass", "accepted_tokens_total"),
    ("synapse_draft_failures", "1 if the draft model failed, which ends its use", "draft_failures_total"),
    ("synapse_steps", "Forward passes", "steps_total"),
    ("synapse_requests_completed", "Requests completed", "requests_completed_total"),
    ("synapse_requests_cancelled", "Requests cancelled, mostly by clients that left", "requests_cancelled_total"),
    ("synapse_requests_failed", "Requests failed", "requests_failed_total"),
    ("synapse_preemptions", "Sequences that had to make room and were computed again", "preemptions_total"),
)


class Metrics:
    """Everything that ``/metrics`` shows."""

    def __init__(self, models: Registry) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(EngineCollector(models))
        self._first_token = self._histogram("time_to_first_token", "From arrival to first token", FIRST_TOKEN_SECONDS)
        self._per_token = self._histogram("time_per_token", "Between later tokens of an answer", PER_TOKEN_SECONDS)
        self._queue = self._histogram("queue_time", "Time in the queue", FIRST_TOKEN_SECONDS)
        self._duration = self._histogram("request_duration", "From arrival to last token", REQUEST_SECONDS)
        self.http = Counter(
            "synapse_http_requests", "HTTP responses", ("method", "path", "status"), registry=self._registry
        )
        self.answers = Counter(
            "synapse_specialist_requests",
            "Requests by the specialist that answered",
            ("specialist", "mode", "reason"),
            registry=self._registry,
        )

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"synapse_{name}_seconds", what, ("model",), buckets=buckets, registry=self._registry)

    def usage(self, model: str) -> Callable[[dict[str, Any], int], None]:
        """Takes in what a finished request cost, and how many answers were made side by side."""

        def observe(usage: dict[str, Any], choices: int) -> None:
            self._queue.labels(model).observe(usage["queue_seconds"])
            self._duration.labels(model).observe(usage["total_seconds"])
            tokens = usage["completion_tokens"]
            if tokens:
                self._first_token.labels(model).observe(usage["first_token_seconds"])
            if tokens > choices:
                seconds = usage["total_seconds"] - usage["first_token_seconds"]
                self._per_token.labels(model).observe(seconds * choices / (tokens - choices))

        return observe

    def text(self) -> bytes:
        """In Prometheus's format."""
        return generate_latest(self._registry)


class EngineCollector:
    """Asks the engines at the moment of reading."""

    def __init__(self, models: Registry) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client."""
        stats = {name: self._stats(name) for name in self._models.models}
        for name, what, key in GAUGES:
            yield self._filled(GaugeMetricFamily(name, what, labels=["model"]), stats, key)
        for name, what, key in COUNTERS:
            yield self._filled(CounterMetricFamily(name, what, labels=["model"]), stats, key)

    def _stats(self, name: str) -> dict[str, Any]:
        try:
            return self._models.models[name].native.stats()
        except EngineError:  # closed: it has nothing to report any more
            return {}

    def _filled(
        self, family: GaugeMetricFamily | CounterMetricFamily, stats: dict[str, dict[str, Any]], key: str
    ) -> Metric:
        for model, values in stats.items():
            if key in values:
                family.add_metric([model], values[key])
        return family


class CountResponses:
    """ASGI middleware: counts responses by method, route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything on."""

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope, message["status"])
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)

    # The route's pattern, not the path: a client must not be able to make up new time series.
    def _count(self, scope: Scope, status: int) -> None:
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        route = scope.get("route")
        self._metrics.http.labels(method, getattr(route, "path", "none"), str(status)).inc()
