"""The metrics of several processes as one: sums of what counts, and what a process leaves behind when it ends.

A snapshot is the reading of one process at one moment, so that what holds in each (rows accepted = durable + in flight
+ dropped) holds in the sum. Counters and histograms of a process that ended stay in the sum for good: what was counted
never goes back. Rows that were in flight in it are counted as dropped for the reason ``worker_ended``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.registry import Collector

Labels: TypeAlias = tuple[tuple[str, str], ...]
_IN_FLIGHT = "loopwright_log_rows_in_flight"
_DROPPED = "loopwright_log_rows_dropped"
_RULES: dict[str, Literal["highest", "lowest"]] = {
    "loopwright_ready": "lowest",
    "loopwright_model_load_seconds": "highest",
    "loopwright_log_slow": "highest",
}
"""How a gauge of several processes becomes one where their sum says nothing."""
_KEPT_TYPES = ("counter", "histogram", "summary")


class Family(msgspec.Struct):
    """One metric with its samples: name of the sample, its labels, and its value."""

    name: str
    help: str
    type: str
    samples: dict[str, list[tuple[Labels, float]]]


_decoder = msgspec.msgpack.Decoder(list[Family])
_encode = msgspec.msgpack.Encoder().encode


def snapshot(collector: Collector) -> bytes:
    """Return what a collector shows now, without the moments at which its counters were made."""
    families = []
    for metric in collector.collect():
        samples: dict[str, list[tuple[Labels, float]]] = {}
        for sample in metric.samples:
            if not sample.name.endswith("_created"):
                samples.setdefault(sample.name, []).append((tuple(sorted(sample.labels.items())), sample.value))
        families.append(Family(metric.name, metric.documentation, metric.type, samples))
    return _encode(families)


def merged(snapshots: Iterable[bytes]) -> list[Family]:
    """Return the families of all snapshots, each sample once."""
    families: dict[str, Family] = {}
    values: dict[str, dict[str, dict[Labels, float]]] = {}
    for content in snapshots:
        for family in _decoder.decode(content):
            families.setdefault(family.name, family)
            rule = _RULES.get(family.name)
            for name, samples in family.samples.items():
                into = values.setdefault(family.name, {}).setdefault(name, {})
                for labels, value in samples:
                    known = into.get(labels)
                    if known is None:
                        into[labels] = value
                    elif rule is None:
                        into[labels] = known + value
                    else:
                        into[labels] = max(known, value) if rule == "highest" else min(known, value)
    for name, family in families.items():
        family.samples = {sample: list(found.items()) for sample, found in values.get(name, {}).items()}
    return list(families.values())


def left_behind(snapshots: Iterable[bytes]) -> bytes:
    """Return what processes that have ended leave to the sums: their counters, with nothing in flight any more."""
    families = {family.name: family for family in merged(snapshots)}
    in_flight = families.get(_IN_FLIGHT)
    dropped = families.get(_DROPPED)
    if in_flight is not None and dropped is not None:
        kept = dict(dropped.samples.get(f"{_DROPPED}_total", []))
        for labels, rows in in_flight.samples.get(_IN_FLIGHT, []):
            if rows:
                lost = (*labels, ("reason", "worker_ended"))
                kept[lost] = kept.get(lost, 0.0) + rows
        dropped.samples = {f"{_DROPPED}_total": list(kept.items())}
    return _encode([family for family in families.values() if family.type in _KEPT_TYPES])


def encoded(families: list[Family]) -> bytes:
    """Return families as a snapshot."""
    return _encode(families)


def exposition(families: Iterable[Family]) -> bytes:
    """Return families in Prometheus' text format."""
    return generate_latest(_Shown(families))


class _Shown:
    """Shows families to the exposition, which asks for a registry."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.help, family.type)
            for name, samples in family.samples.items():
                for labels, value in samples:
                    metric.add_sample(name, dict(labels), value)
            yield metric
