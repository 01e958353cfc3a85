"""What a server counts, under the names that its Prometheus endpoint shows.

Latency buckets are those of `loopwright.core.statistics.histogram`: fixed and logarithmic, so that histograms of
different processes and moments add up, and the edges bound the error of a quantile to a factor of 2^(1/4). What is
counted per request is kept in plain lists and laid out for Prometheus only at a scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest

from loopwright.core.statistics.histogram import EDGES_MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from loopwright.features.lookup import LookupResult
    from loopwright.serving.log.prediction_log import PredictionLog

LATENCY_BUCKETS_S: tuple[float, ...] = tuple(edge / 1000 for edge in EDGES_MS)
_ROW_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0, 65536.0)


class _Distribution:
    """Counts by bucket; written by one thread per key (the event loop, or the shadow for its own route)."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return the cumulative counts by upper edge."""
        edges = [*(f"{bound:.6g}" for bound in self.bounds), "+Inf"]
        result, running = [], 0
        for edge, count in zip(edges, self.counts, strict=True):
            running += count
            result.append((edge, float(running)))
        return result


class _Series(NamedTuple):
    """Where the requests of one combination of labels are counted: found once, then reached by one look-up."""

    key: tuple[str, str, str, str, str]
    requests: dict[tuple[str, str, str, str, str], int]
    sums: list[float]  # rows, seconds
    seconds: _Distribution
    rows: _Distribution


class ServingMetrics:
    """The metrics of one server process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._logs: dict[str, PredictionLog] = {}
        self._requests: dict[tuple[str, str, str, str, str], int] = {}
        self._sums: dict[tuple[str, str, str, str, str], list[float]] = {}
        self._seconds: dict[tuple[str, str, str], _Distribution] = {}
        self._rows: dict[tuple[str, str], _Distribution] = {}
        self._lookups: dict[tuple[str, str, str], int] = {}
        self._series: dict[tuple[str, int, str, str, int], _Series] = {}
        self._inflight = Gauge("loopwright_inflight", "Requests being worked on.", ("model",), registry=self.registry)
        self._shed = Counter(
            "loopwright_shed", "Requests refused to protect the others.", ("model", "reason"), registry=self.registry
        )
        self._shadow_dropped = Counter(
            "loopwright_shadow_dropped", "Copies that the shadow had no room for.", ("model",), registry=self.registry
        )
        self._load_seconds = Gauge(
            "loopwright_model_load_seconds", "Load and warm-up.", ("model", "version"), registry=self.registry
        )
        self._load_failures = Counter(
            "loopwright_model_load_failures", "Versions refused.", ("model",), registry=self.registry
        )
        self._outcomes = Counter("loopwright_outcomes", "Outcomes received.", ("model",), registry=self.registry)
        self._ignored = Counter(
            "loopwright_rows_with_ignored_fields",
            "Rows of requests with fields that the model does not know.",
            ("model",),
            registry=self.registry,
        )
        self._ready = Gauge("loopwright_ready", "1 when all declared models are loaded.", registry=self.registry)
        self._loop_lag = Gauge(
            "loopwright_loop_lag_seconds",
            "By how much the event loop is late.",
            ("worker",),
            registry=self.registry,
        )
        self.registry.register(_PerRequest(self))
        self.registry.register(_LogRows(self._logs))

    def watch_log(self, log: PredictionLog) -> None:
        """Export the row counts of a prediction log."""
        self._logs[log.model] = log

    def request(
        self, model: str, version: int, route: str, protocol: str, code: int, seconds: float, rows: int
    ) -> None:
        """Count one request that was accepted, and its latency from acceptance to the logged answer."""
        key = (model, version, route, protocol, code)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._new_series(model, str(version), route, protocol, str(code))
        series.requests[series.key] += 1
        series.sums[0] += rows
        series.sums[1] += seconds
        latency, sizes = series.seconds, series.rows  # not by observe(): two calls less for every request
        latency.counts[bisect_left(latency.bounds, seconds)] += 1
        latency.total += seconds
        sizes.counts[bisect_left(sizes.bounds, rows)] += 1
        sizes.total += rows

    def _new_series(self, model: str, version: str, route: str, protocol: str, code: str) -> _Series:
        labels = (model, version, route, protocol, code)
        self._requests.setdefault(labels, 0)
        return _Series(
            labels,
            self._requests,
            self._sums.setdefault(labels, [0, 0.0]),
            self._seconds.setdefault((model, version, route), _Distribution(LATENCY_BUCKETS_S)),
            self._rows.setdefault((model, route), _Distribution(_ROW_BUCKETS)),
        )

    def refused(self, model: str, protocol: str, code: int) -> None:
        """Count a request that was answered with an error before a version had it."""
        key = (model, "", "", protocol, str(code))
        self._requests[key] = self._requests.get(key, 0) + 1

    def lookup(self, model: str, result: LookupResult) -> None:
        """Count the rows for which a view was looked up, by what there was."""
        missing, expired = len(result.missing), len(result.expired)
        counts = {"found": result.rows - missing - expired, "missing": missing, "expired": expired}
        for name, count in counts.items():
            key = (model, result.view, name)
            self._lookups[key] = self._lookups.get(key, 0) + count

    def ignored(self, model: str, rows: int) -> None:
        """Count the rows of a request that had fields which the model does not know."""
        self._ignored.labels(model).inc(rows)

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

    def loop_lag(self, worker: int, seconds: float) -> None:
        """Show by how much the event loop of a process is late."""
        self._loop_lag.labels(str(worker)).set(seconds)

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def per_request(self) -> Iterator[Metric]:
        """Lay out what is counted per request."""
        requests = CounterMetricFamily(
            "loopwright_requests",
            "Requests answered, by HTTP status.",
            labels=("model", "version", "route", "protocol", "code"),
        )
        for key, count in list(self._requests.items()):
            requests.add_metric(key, count)
        labels = ("model", "version", "route", "protocol", "code")
        answered = CounterMetricFamily("loopwright_rows", "Rows of the requests, by HTTP status.", labels=labels)
        busy = CounterMetricFamily(
            "loopwright_busy_seconds", "From acceptance to the logged answer, by HTTP status.", labels=labels
        )
        for key, (row_count, spent) in list(self._sums.items()):
            answered.add_metric(key, row_count)
            busy.add_metric(key, spent)
        seconds = HistogramMetricFamily(
            "loopwright_request_seconds",
            "From acceptance to the logged answer.",
            labels=("model", "version", "route"),
        )
        for place, latency in list(self._seconds.items()):
            seconds.add_metric(place, latency.buckets(), latency.total)
        rows = HistogramMetricFamily("loopwright_batch_rows", "Rows per call.", labels=("model", "route"))
        for batch_key, batch in list(self._rows.items()):
            rows.add_metric(batch_key, batch.buckets(), batch.total)
        lookups = CounterMetricFamily(
            "loopwright_feature_lookups",
            "Rows looked up online, by what there was.",
            labels=("model", "view", "result"),
        )
        for lookup_key, count in list(self._lookups.items()):
            lookups.add_metric(lookup_key, count)
        yield from (requests, answered, busy, seconds, rows, lookups)


class _PerRequest:
    """Lays out the per-request counts at the moment of a scrape."""

    def __init__(self, metrics: ServingMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics.per_request()


class _LogRows:
    """Reads the prediction logs at the moment of a scrape: one consistent reading per log."""

    def __init__(self, logs: Mapping[str, PredictionLog]) -> None:
        self._logs = logs

    def collect(self) -> Iterator[Metric]:
        accepted = CounterMetricFamily("loopwright_log_rows_accepted", "Rows accepted.", labels=("model",))
        durable = CounterMetricFamily("loopwright_log_rows_durable", "Rows on disk.", labels=("model",))
        in_flight = GaugeMetricFamily(
            "loopwright_log_rows_in_flight", "Rows being computed, or waiting for the disk.", labels=("model",)
        )
        waiting = GaugeMetricFamily("loopwright_log_rows_waiting", "Rows waiting for the disk.", labels=("model",))
        slow = GaugeMetricFamily(
            "loopwright_log_slow", "1 while answers leave before their rows are on disk.", labels=("model",)
        )
        unsynced = CounterMetricFamily("loopwright_log_sync_failures", "Syncs that failed.", labels=("model",))
        dropped = CounterMetricFamily("loopwright_log_rows_dropped", "Rows not kept.", labels=("model", "reason"))
        for model, log in list(self._logs.items()):
            counts = log.counts()
            accepted.add_metric((model,), counts.accepted)
            durable.add_metric((model,), counts.durable)
            in_flight.add_metric((model,), counts.in_flight)
            waiting.add_metric((model,), counts.waiting)
            slow.add_metric((model,), float(counts.state == "slow"))
            unsynced.add_metric((model,), counts.sync_failures)
            for reason, rows in counts.dropped.items():
                dropped.add_metric((model, reason), rows)
        yield from (accepted, durable, in_flight, dropped, waiting, slow, unsynced)
