"""The keys of a workload file: which there are, what each one fills, and how its value is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import DeclarationError
from loopwright.planning.cadence import CADENCES
from loopwright.planning.quantities import SECONDS_PER_DAY, parse_bytes, parse_count, parse_rate, parse_seconds

if TYPE_CHECKING:
    from loopwright.planning.assumption import Tag

Table = Mapping[str, Any]
Reader = Callable[[Any], Any]
Keys = dict[str, tuple[str, Reader]]
"""What a key fills, and how its value is read."""


def as_table(value: object, name: str) -> Table:
    """Return a value that must be a table.

    Raises:
        DeclarationError: If it is none.
    """
    if not isinstance(value, Mapping):
        raise DeclarationError(
            f"'{name}' is no table: {value!r}.", hint=f"Write [{name.strip('[]')}] and keys below it."
        )
    return value


def _positive(reader: Reader, what: str) -> Reader:
    def read(value: object) -> float:
        found = float(reader(value))
        if not found >= 0:
            raise DeclarationError(f"a {what} must not be negative, got {value!r}.", hint="Give a number from 0.")
        return found

    return read


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise DeclarationError(f"{value!r} is no text.", hint="Write it in quotes.")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise DeclarationError(f"{value!r} is no list.", hint="Write ['aws', 'gcp'].")
    return tuple(_text(one) for one in value)


def _yes(value: object) -> bool:
    if not isinstance(value, bool):
        raise DeclarationError(f"{value!r} is neither true nor false.", hint="Write true or false.")
    return value


def _cadence(value: object) -> str:
    if value not in CADENCES:
        raise DeclarationError(f"{value!r} is no cadence.", hint=f"Use one of {', '.join(CADENCES)}.")
    return str(value)


def _tag(value: object) -> Tag:
    if value not in ("measured", "given", "assumed"):  # a tuple: a list or a table cannot be looked up in a set
        raise DeclarationError(f"{value!r} is no tag.", hint="Write measured, given or assumed.")
    return value


def _whole(value: object) -> int:
    found = parse_count(value)
    if found != int(found) or found < 0:
        raise DeclarationError(f"{value!r} is no whole number from 0.")
    return int(found)


def _hours(value: object) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else parse_seconds(value) / 3600


def _days(value: object) -> float | None:
    return None if value == "forever" else parse_seconds(value) / SECONDS_PER_DAY


def _per_day(value: object) -> float:
    """Read requests of a day: a number is per day, a rate is made one."""
    is_rate = isinstance(value, str) and "/" in value
    return parse_rate(value) * SECONDS_PER_DAY if is_rate else parse_count(value)


def _bytes_per_day(value: object) -> float:
    text = value.removesuffix("/day") if isinstance(value, str) else value
    return parse_bytes(text)


_count, _rate = _positive(parse_count, "number"), _positive(parse_rate, "rate")
_bytes, _seconds = _positive(parse_bytes, "size"), _positive(parse_seconds, "duration")
SECTIONS = ("requests", "data", "training", "services", "batches", "streams", "ratios", "budget", "fixed")
TOP: Keys = {
    "name": ("name", _text),
    "clouds": ("clouds", _texts),
    "regions": ("regions", _texts),
    "availability": ("availability", _count),
    "min_nodes": ("min_nodes", _whole),
    "spare_nodes": ("spare_nodes", _whole),
    "longest_commitment_years": ("longest_commitment_years", _count),
    "mb_per_s_per_core": ("mb_per_s_per_core", _count),
}
REQUESTS: Keys = {
    "per_day": ("requests_per_day", _positive(_per_day, "rate")),
    "peak": ("peak_rps", _rate),
    "floor": ("floor_rps", _rate),
    "hourly": ("hourly_rps", lambda value: tuple(_rate(one) for one in value)),
    "latency_p99": ("latency_p99", _seconds),
    "percentile": ("percentile", _count),
    "network": ("network_s", _seconds),
    "burst_factor": ("burst_factor", _count),
    "step": ("step_rps", _rate),
    "growth_per_year": ("growth_per_year", parse_count),
    "payload": ("payload", lambda value: int(_bytes(value))),
    "payload_spread": ("payload_spread", _count),
    "response": ("response_bytes", _bytes),
    "log": ("log_bytes", _bytes),
    "retention": ("retention", _text),
}
DATA: Keys = {
    "per_day": ("bytes_per_day", _positive(_bytes_per_day, "size")),
    "object": ("object_bytes", _bytes),
    "retention": ("retention_days", _days),
    "stored": ("stored_bytes", _bytes),
    "reads_per_month": ("reads_per_month", _count),
}
TRAINING: Keys = {
    "cadence": ("cadence", _cadence),
    "hours": ("hours", lambda value: {name: float(_hours(one)) for name, one in as_table(value, "hours").items()}),
    "runs_per_month": ("runs_per_month", _count),
    "checkpoint": ("checkpoint_s", _seconds),
    "restart": ("restart_s", _seconds),
    "between_failures": ("between_failures_h", _positive(_hours, "duration")),
    "has_checkpoints": ("has_checkpoints", _yes),
    "window": ("window_h", _positive(_hours, "duration")),
    "efficiency": ("efficiency", _count),
    "cpu_cores": ("cpu_cores", _count),
    "evaluation_share": ("evaluation_share", _count),
    "local_hours": ("local_hours", _positive(_hours, "duration")),
    "local_usd_per_hour": ("local_usd_per_hour", _count),
    "memory_gib": ("memory_gib", _count),
    "tag": ("tag", _tag),
}
SERVICE: Keys = {
    "name": ("name", _text),
    "kind": ("kind", _text),
    "hardware": ("hardware", _text),
    "vcpus": ("vcpus", _count),
    "mean": ("mean_s", _seconds),
    "cv2": ("cv2", _count),
    "batch_fixed": ("batch_fixed", _seconds),
    "batch_per_row": ("batch_per_row", _seconds),
    "largest_batch": ("largest_batch", _whole),
    "memory": ("memory_bytes", lambda value: int(_bytes(value))),
    "load": ("load_s", _seconds),
    "artifact": ("artifact_bytes", lambda value: int(_bytes(value))),
    "accelerator": ("accelerator", _text),
    "tag": ("tag", _tag),
}
BATCH: Keys = {
    "name": ("name", _text),
    "rows": ("rows", _count),
    "cadence": ("cadence", _cadence),
    "window": ("window_s", _seconds),
    "per_row": ("seconds_per_row", _seconds),
    "service": ("service", _text),
}
STREAM: Keys = {
    "name": ("name", _text),
    "events": ("events_per_s", _rate),
    "peak": ("peak_per_s", _rate),
    "limit": ("limit_s", _seconds),
    "event": ("event_bytes", _bytes),
    "retention": ("retention_s", _seconds),
    "service": ("service", _text),
}
FIXED: Keys = {
    "provider": ("provider", _text),
    "region": ("region", _text),
    "instance_type": ("instance_type", _text),
    "purchase": ("purchase", _text),
    "packaging": ("packaging", _text),
    "service": ("service", _text),
    "nodes": ("nodes", _whole),
}
