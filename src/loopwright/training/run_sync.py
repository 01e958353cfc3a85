"""From run folders to the metadata store: idempotent, so that it can be done live, again, and later.

A record's place in the spool is its key, so the same record is never stored twice. A run whose process and parent are
gone without a recorded end becomes ``lost``.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from loopwright.training import run as tables
from loopwright.training.active import ARTIFACTS_NAME, read_spool
from loopwright.training.run_folder import RunFolder, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.core.storage.stores import Stores


def sync_folder(stores: Stores, folder: RunFolder, offset: int = 0) -> int:
    """Bring what is in a run's folder after a spool offset into the metadata store; returns the new offset.

    All or nothing: one transaction. Once the recorded end is in, the folder is marked as synced.

    Raises:
        StoreError: The store is away; nothing was changed, and the same call can be made again.
    """
    start = read_json(folder.start)
    if start is None:
        return offset
    finish = read_json(folder.finish)
    records, new_offset = read_spool(folder.path, offset)
    started_at = datetime.fromisoformat(start["started_at"])
    kept = [_artifact_row(stores, folder, record, started_at) for record in records if record["kind"] == "artifact"]
    with stores.facts.write() as connection:
        stores.facts.insert_missing(connection, tables.runs, [_run_row(start, started_at)])
        for table, rows in _rows(folder.run_id, records, started_at).items():
            if rows:
                stores.facts.insert_missing(connection, table, rows)
        for row in (*_declared(folder.run_id, start), *_logged(folder.run_id, records)):
            stores.facts.upsert(connection, tables.run_params, row)
        for artifact in kept:
            if artifact is not None:
                stores.facts.upsert(connection, tables.run_artifacts, artifact)
        changes: dict[str, Any] = {"heartbeat_at": stores.clock.now()}
        if finish is not None:
            changes = _finish_values(finish)
            for name, value in finish.get("params", {}).items():
                row = {"run_id": folder.run_id, "origin": "searched", "name": name[:250], "value": value}
                stores.facts.upsert(connection, tables.run_params, row)
            for name, value in finish.get("estimator_params", {}).items():
                row = {"run_id": folder.run_id, "origin": "estimator", "name": name[:250], "value": value}
                stores.facts.upsert(connection, tables.run_params, row)
        connection.execute(sa.update(tables.runs).where(tables.runs.c.id == folder.run_id).values(**changes))
    if finish is not None:
        folder.synced.touch()
    return new_offset


def _run_row(start: Mapping[str, Any], started_at: datetime) -> dict[str, object]:
    record = start["record"]
    return {
        "id": start["id"],
        "model": record["model"],
        "status": "running",
        "cause": record["cause"][:500],
        "seed": record["seed"],
        "training_set": record["training_set"],
        "record": record,
        "host": start["host"],
        "process_id": start["process_id"],
        "process_started": start["process_started"],
        "started_at": started_at,
        "heartbeat_at": started_at,
    }


def _finish_values(finish: Mapping[str, Any]) -> dict[str, object]:
    return {
        "status": finish["status"],
        "finished_at": datetime.fromisoformat(finish["finished_at"]),
        "heartbeat_at": datetime.fromisoformat(finish["finished_at"]),
        "seconds": finish["seconds"],
        "peak_memory_bytes": finish["peak_memory_bytes"],
        "model_file": finish["model_file"],
        "log_digest": finish["log_digest"],
        "error": finish["error"],
    }


def _declared(run_id: str, start: Mapping[str, Any]) -> list[dict[str, object]]:
    return [
        {"run_id": run_id, "origin": "declared", "name": name[:250], "value": value}
        for name, value in start.get("params", {}).items()
    ]


def _logged(run_id: str, records: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    return [
        {"run_id": run_id, "origin": "logged", "name": record["name"][:250], "value": record["value"]}
        for record in records
        if record["kind"] == "param"
    ]


def _rows(
    run_id: str, records: Sequence[Mapping[str, Any]], started_at: datetime
) -> dict[sa.Table, list[dict[str, object]]]:
    rows: dict[sa.Table, list[dict[str, object]]] = {
        tables.run_metrics: [],
        tables.run_trials: [],
        tables.run_events: [],
    }
    for record in records:
        moment = started_at + timedelta(seconds=record["elapsed_s"])
        match record["kind"]:
            case "metric":
                rows[tables.run_metrics].append(
                    {
                        "run_id": run_id,
                        "sequence": record["sequence"],
                        "name": record["name"][:250],
                        "step": record["step"],
                        "value": None if math.isnan(record["value"]) else record["value"],
                        "logged_at": moment,
                    }
                )
            case "trial":
                rows[tables.run_trials].append({"run_id": run_id, **{name: record[name] for name in _TRIAL_COLUMNS}})
            case "progress" | "event":
                fraction = f"{record['fraction']:.0%} " if "fraction" in record else ""
                rows[tables.run_events].append(
                    {
                        "run_id": run_id,
                        "sequence": record["sequence"],
                        "kind": record["kind"],
                        "text": f"{fraction}{record.get('text', '')}".strip(),
                        "happened_at": moment,
                    }
                )
    return rows


_TRIAL_COLUMNS = ("number", "params", "value", "status", "seconds", "curves")


def _artifact_row(
    stores: Stores, folder: RunFolder, record: Mapping[str, Any], started_at: datetime
) -> dict[str, object] | None:
    path = folder.path / ARTIFACTS_NAME / record["file"]
    if not path.exists():
        return None
    return {
        "run_id": folder.run_id,
        "name": record["name"][:250],
        "digest": stores.blobs.put_file(path),
        "size_bytes": path.stat().st_size,
        "logged_at": started_at + timedelta(seconds=record["elapsed_s"]),
    }
