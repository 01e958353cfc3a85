"""Reads a workload from a file (TOML or YAML), with human units.

A key that is not known is refused with the nearest one that is; nothing is skipped silently. The sections::

    name, clouds, regions, availability, min_nodes, spare_nodes, longest_commitment_years
    [requests]    per_day, peak, floor, hourly, latency_p99, percentile, network, burst_factor, step, growth_per_year,
                  payload, payload_spread, response, log
    [data.raw]    per_day, object, retention, stored, reads_per_month       (raw, processed, features, models, logs)
    [training]    cadence, hours, runs_per_month, checkpoint, restart, between_failures, has_checkpoints, window, …
    [[services]]  name, kind, hardware, vcpus, mean, cv2, batch_fixed, batch_per_row, largest_batch, memory, load, …
    [[batches]]   name, rows, cadence, window, per_row, service
    [[streams]]   name, events, peak, limit, event, retention, service
    [ratios]      x86 = [1.0, 0.2], arm = …, A10G = …
    [budget]      serving = 30, total = 170, …
    [fixed]       provider, region, instance_type, purchase, packaging, service, nodes
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from loopwright.core.errors import DeclarationError, SourceError, UnknownNameError, UsageError
from loopwright.planning.batching import BatchTime
from loopwright.planning.jobs import BatchJob, Data, DataKind, StreamJob
from loopwright.planning.quantities import parse_count
from loopwright.planning.service import ServiceModel
from loopwright.planning.training_needs import TrainingNeeds
from loopwright.planning.workload import CLOUDS, Fixed, Workload, workload
from loopwright.planning.workload_keys import (
    BATCH,
    DATA,
    FIXED,
    REQUESTS,
    SECTIONS,
    SERVICE,
    STREAM,
    TOP,
    TRAINING,
    as_table,
)

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.planning.workload_keys import Keys, Table


_LARGEST = 1e18
_SHOWN = 60


@dataclass(frozen=True)
class Request:
    """Everything that a plan is made from, but the prices."""

    workload: Workload
    services: tuple[ServiceModel, ...]
    training: TrainingNeeds


def read_workload(path: Path) -> Request:
    """Read a file; ``.yaml`` and ``.yml`` as YAML, the rest as TOML.

    Raises:
        SourceError: If it cannot be read.
        DeclarationError: If it is no TOML or YAML, or a value cannot be.
        UnknownNameError: If a key is not known.
    """
    return request_of(read_tables(path))


def read_tables(path: Path) -> Table:
    """Read a file's tables as they stand, for :func:`request_of`.

    Raises:
        SourceError: If it cannot be read.
        DeclarationError: If it is no TOML or YAML.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise SourceError(f"The workload {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DeclarationError(f"{path.name} is no text.", hint="Name a TOML or a YAML file.") from error
    try:
        return _yaml(text) if path.suffix in {".yaml", ".yml"} else tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DeclarationError(f"{path.name} is no TOML: {error}.", hint="Correct that line.") from error


def request_of(tables: Table) -> Request:
    """Return what a workload's tables say.

    Raises:
        DeclarationError: If a value cannot be; one message for the first thing found.
        UnknownNameError: If a key is not known.
    """
    top = _read({key: value for key, value in tables.items() if key not in SECTIONS}, TOP, "at the top", also=SECTIONS)
    for cloud in top.get("clouds", ()):
        if cloud not in CLOUDS:
            raise UnknownNameError("cloud", cloud, CLOUDS)
    asked = _read(_table(tables, "requests"), REQUESTS, "in [requests]")
    trained = _read(_table(tables, "training"), TRAINING, "in [training]")
    cadence = trained.pop("cadence", "monthly")
    more = {
        **top,
        **asked,
        "data": tuple(_data(kind, table) for kind, table in _table(tables, "data").items()),
        "batches": tuple(
            BatchJob(**_named(one, BATCH, "[[batches]]", needs="rows")) for one in _list(tables, "batches")
        ),
        "streams": tuple(
            StreamJob(**_named(one, STREAM, "[[streams]]", needs="events")) for one in _list(tables, "streams")
        ),
        "ratios": {name: _ratio(name, pair) for name, pair in _table(tables, "ratios").items()},
        "budget": {name: parse_count(usd, what=f"budget of {name}") for name, usd in _table(tables, "budget").items()},
        "fixed": Fixed(**_read(_table(tables, "fixed"), FIXED, "in [fixed]")),
    }
    empty = [name for name, value in more.items() if value in ((), {}, Fixed())]
    made = workload(retrain=cadence, **{name: value for name, value in more.items() if name not in empty})
    services = tuple(_service(one) for one in _list(tables, "services"))
    if not services:
        raise DeclarationError(
            "The workload names no service model.", hint="Add [[services]] with name = 'cpu' and mean = '50ms'."
        )
    twice = {one.name for one in services if sum(other.name == one.name for other in services) > 1}
    if twice:
        raise DeclarationError(f"Two service models are called '{min(twice)}'.", hint="Give each a name of its own.")
    return Request(made, services, TrainingNeeds(**trained))


def _service(table: Table) -> ServiceModel:
    found = _named(table, SERVICE, "[[services]]")
    fixed, per_row = found.pop("batch_fixed", None), found.pop("batch_per_row", None)
    largest = found.get("largest_batch", 1)
    if fixed is not None or per_row is not None:
        found["batch"] = BatchTime(fixed or 0.0, per_row or 0.0)
        found.setdefault("mean_s", found["batch"].seconds(1))
        found.setdefault("cv2", 0.0)
    elif largest > 1:
        raise DeclarationError(
            f"The service '{found['name']}' batches, and the time of a batch is not known.",
            hint="Give batch_fixed and batch_per_row.",
        )
    if "mean_s" not in found:
        raise DeclarationError(f"The service '{found['name']}' has no mean.", hint="Write mean = '50ms'.")
    kind = found.setdefault("kind", "gpu" if found.get("accelerator") else "cpu")
    if kind not in {"cpu", "gpu"} or (kind == "gpu") != bool(found.get("accelerator")):
        raise DeclarationError(
            f"The service '{found['name']}' is of kind {kind!r} with accelerator {found.get('accelerator', '')!r}.",
            hint="A GPU service names its accelerator, a CPU service none.",
        )
    found.setdefault("vcpus", 4.0)
    found.setdefault("hardware", found.get("accelerator") or f"{found['vcpus']:g} vCPUs")
    found.setdefault("cv2", 0.25)
    found.setdefault("tag", "given")
    return ServiceModel(**found)


def _data(kind: str, table: object) -> Data:
    known = ("raw", "processed", "features", "models", "logs")
    if kind not in known:
        raise UnknownNameError("kind of data", kind, known, where="in [data]")
    return Data(cast("DataKind", kind), **_read(as_table(table, f"data.{kind}"), DATA, f"in [data.{kind}]"))


def _ratio(name: str, pair: object) -> tuple[float, float]:
    values = pair if isinstance(pair, list) else [pair]
    numbers = [parse_count(value, what=f"ratio of {name}") for value in values]
    if len(numbers) not in {1, 2} or numbers[0] <= 0:
        raise DeclarationError(f"The ratio of {name} is {pair!r}.", hint="Write [1.2, 0.2]: ratio and its spread.")
    return numbers[0], max(0.15, numbers[1]) if len(numbers) == 2 else 0.2


def _read(table: Table, fields: Keys, where: str, also: tuple[str, ...] = ()) -> dict[str, Any]:
    found = {}
    for key, value in table.items():
        if key not in fields:
            raise UnknownNameError("key", key, [*fields, *also], where=where)
        name, reader = fields[key]
        try:
            found[name] = reader(value)
        except DeclarationError as error:
            raise DeclarationError(f"{key} {where}: {error.message}", hint=error.hint) from error
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            text = f"{key} {where}: {_shown(value)} cannot be read: {error}."
            raise DeclarationError(text, hint="See examples/plans for how it is written.") from error
        _check_size(key, where, found[name])
    return found


def _check_size(key: str, where: str, value: object) -> None:
    """Refuse what is no number, and what nothing on earth has: beyond 10^18 the arithmetic means nothing."""
    if isinstance(value, (int, float)) and not abs(value) <= _LARGEST:
        raise DeclarationError(f"{key} {where}: {_shown(value)} is no usable number.", hint="Give a smaller one.")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _named(table: object, fields: Keys, where: str, *, needs: str = "name") -> dict[str, Any]:
    found = _read(as_table(table, where), fields, f"in {where}")
    if not found.get("name"):
        raise DeclarationError(f"An entry of {where} has no name.", hint="Write name = '…'.")
    if fields[needs][0] not in found:
        raise DeclarationError(f"'{found['name']}' in {where} has no {needs}.", hint=f"Write {needs} = '…'.")
    return found


def _table(tables: Table, name: str) -> Table:
    return as_table(tables.get(name, {}), name)


def _list(tables: Table, name: str) -> list[Any]:
    value = tables.get(name, [])
    if not isinstance(value, list):
        raise DeclarationError(f"'{name}' is no list of tables.", hint=f"Write [[{name}]].")
    return value


def _yaml(text: str) -> Table:
    try:
        import yaml  # type: ignore[import-untyped]  # noqa: PLC0415 - only for workloads that are written so
    except ImportError as error:
        raise UsageError(
            "The package 'pyyaml' is not installed.", hint="Run: pip install pyyaml, or write the workload as TOML."
        ) from error
    try:
        return as_table(yaml.safe_load(text) or {}, "the file")
    except yaml.YAMLError as error:
        raise DeclarationError(f"The workload is no YAML: {error}.", hint="Correct that line.") from error
