"""A lake for these tests: snapshots of hand-made tables, with the system columns that an ingest adds."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from loopwright.data.snapshot import Snapshot


class TableLake:
    """Appends Arrow tables as dataset versions, and reads them the way the lake does."""

    def __init__(self, stores):
        self.stores = stores

    def add(self, dataset, table):
        moment = pa.timestamp("us", tz="UTC")
        arrived = (
            table.column(dataset.arrival_time)
            if dataset.arrival_time
            else [datetime(2026, 1, 1, tzinfo=UTC)] * len(table)
        )
        system = {
            "_source": pa.array(["test"] * len(table)),
            "_source_row": pa.array(range(len(table)), pa.int64()),
            "_arrived_at": arrived.cast(moment) if dataset.arrival_time else pa.array(arrived, moment),
            "_ingest_id": pa.array(["i"] * len(table)),
        }
        for name, column in system.items():
            table = table.append_column(name, column)
        version = self.stores.tables.append(f"datasets/{dataset.name}", table)
        return Snapshot(dataset.name, version, len(table), "", self.stores.clock.now(), "i")

    def scan_sql(self, snapshot):
        return self.stores.tables.scan_sql(f"datasets/{snapshot.dataset}", snapshot.version)


@pytest.fixture
def lake(stores):
    return TableLake(stores)
