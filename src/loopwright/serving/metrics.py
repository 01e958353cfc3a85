"""What a server counts, under the names that its Prometheus endpoint shows.

Latency buckets are fixed and logarithmic, 4 per octave from 0.25 ms to about 10 s: histograms of different processes
and moments add up, and the edges bound the error of a quantile to a factor of 2^(1/4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest

from loopwright.core.statistics.histogram import EDGES_MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from loopwright.serving.prediction_log import PredictionLog

LATENCY_BUCKETS_S: tuple[float, ...] = tuple(edge / 1000 for edge in EDGES_MS)
_ROW_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384, 65536)


class ServingMetrics:
    """The metrics of one server process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._logs: dict[str, PredictionLog] = {}
        self._requests = Counter(
            "loopwright_requests",
            "Requests answered, by HTTP status.",
            ("model", "version", "route", "protocol", "code"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "loopwright_request_seconds",
            "From acceptance to the logged answer.",
            ("model", "version", "route"),
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._rows = Histogram(
            "loopwright_batch_rows",
            "Rows computed in one call.",
            ("model",),
            buckets=_ROW_BUCKETS,
            registry=self.registry,
        )
        self._inflight = Gauge("loopwright_inflight", "Requests being worked on.", ("model",), registry=self.registry)
        self._shed = Counter(
            "loopwright_shed", "Requests refused to protect the others.", ("model", "reason"), registry=self.registry
        )
        self._shadow_dropped = Counter(
            "loopwright_shadow_dropped", "Copies that the shadow had no room for.", ("model",), registry=self.registry
        )
        self._load_seconds = Gauge(
            "loopwright_model_load_seconds",
            "Loading and warming a version.",
            ("model", "version"),
            registry=self.registry,
        )
        self._load_failures = Counter(
            "loopwright_model_load_failures",
            "Versions refused by load or self-test.",
            ("model",),
            registry=self.registry,
        )
        self._outcomes = Counter("loopwright_outcomes", "Outcomes received.", ("model",), registry=self.registry)
        self._ready = Gauge("loopwright_ready", "1 when all declared models are loaded.", registry=self.registry)
        self._requests_of: dict[tuple[str, int, str, str, int], Counter] = {}
        self._seconds_of: dict[tuple[str, int, str], Histogram] = {}
        self._rows_of: dict[str, Histogram] = {}
        self.registry.register(_LogRows(self._logs))

    def watch_log(self, log: PredictionLog) -> None:
        """Export the row counts of a prediction log."""
        self._logs[log.model] = log

    def request(
        self, model: str, version: int, route: str, protocol: str, code: int, seconds: float, rows: int
    ) -> None:
        """Count one answered request."""
        key = (model, version, route, protocol, code)
        counter = self._requests_of.get(key)
        if counter is None:
            counter = self._requests_of[key] = self._requests.labels(model, str(version), route, protocol, str(code))
        counter.inc()
        place = (model, version, route)
        histogram = self._seconds_of.get(place)
        if histogram is None:
            histogram = self._seconds_of[place] = self._seconds.labels(model, str(version), route)
        histogram.observe(seconds)
        batch = self._rows_of.get(model)
        if batch is None:
            batch = self._rows_of[model] = self._rows.labels(model)
        batch.observe(rows)

    def refused(self, model: str, protocol: str, code: int) -> None:
        """Count a request that was answered with an error before a version had it."""
        self._requests.labels(model, "", "", protocol, str(code)).inc()

    def shed(self, model: str, reason: str) -> None:
        """Count a request refused to protect the others."""
        self._shed.labels(model, reason).inc()

    def inflight(self, model: str, count: int) -> None:
        """Show how many requests are being worked on."""
        self._inflight.labels(model).set(count)

    def shadow_dropped(self, model: str) -> None:
        """Count a copy that the shadow had no room for."""
        self._shadow_dropped.labels(model).inc()

    def loaded(self, model: str, version: int, seconds: float) -> None:
        """Show how long a version took to load and warm."""
        self._load_seconds.labels(model, str(version)).set(seconds)

    def load_failed(self, model: str) -> None:
        """Count a version that was refused."""
        self._load_failures.labels(model).inc()

    def outcomes(self, model: str, count: int) -> None:
        """Count outcomes received."""
        self._outcomes.labels(model).inc(count)

    def ready(self, *, is_ready: bool) -> None:
        """Show whether the server is ready."""
        self._ready.set(1 if is_ready else 0)

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class _LogRows:
    """Reads the prediction logs at the moment of a scrape: one consistent reading per log."""

    def __init__(self, logs: Mapping[str, PredictionLog]) -> None:
        self._logs = logs

    def collect(self) -> Iterator[Metric]:
        accepted = CounterMetricFamily("loopwright_log_rows_accepted", "Rows accepted.", labels=("model",))
        durable = CounterMetricFamily("loopwright_log_rows_durable", "Rows on disk.", labels=("model",))
        in_flight = GaugeMetricFamily("loopwright_log_rows_in_flight", "Rows being computed.", labels=("model",))
        dropped = CounterMetricFamily("loopwright_log_rows_dropped", "Rows not kept.", labels=("model", "reason"))
        for model, log in list(self._logs.items()):
            counts = log.counts()
            accepted.add_metric((model,), counts.accepted)
            durable.add_metric((model,), counts.durable)
            in_flight.add_metric((model,), counts.in_flight)
            for reason, rows in counts.dropped.items():
                dropped.add_metric((model, reason), rows)
        yield from (accepted, durable, in_flight, dropped)
