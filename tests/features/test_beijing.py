"""A month of hourly air quality at three stations, replayed in the order of arrival, some hours late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.features.build import TrainingSetBuilder
from loopwright.features.engine_duckdb import DuckEngine
from loopwright.features.examples import read_training_set
from loopwright.features.label import label
from loopwright.features.materialize import materialize
from loopwright.features.online import MemoryOnlineStore
from loopwright.features.parity import parity
from loopwright.features.split import latest
from loopwright.features.training_spec import training_set_spec
from loopwright.features.view import feature_view

STATIONS = ["Aotizhongxin", "Dongsi", "Wanliu"]
FIRST, DAYS, STEP, DAY, HOUR = datetime(2013, 3, 1, tzinfo=UTC), 30, 3, timedelta(days=1), timedelta(hours=1)


def rolling(readings):
    """The station's mean PM2.5 of the last day, and its newest wind."""
    day = ibis.window(group_by="station_id", order_by="ts", preceding=23, following=0)
    return readings.select("station_id", "ts", pm_day=readings["PM2_5"].mean().over(day), wind=readings.WSPM)


def month(path):
    """Hourly rows with the moment each arrived: one in twelve some hours late."""
    chosen = [("station_id", "in", STATIONS), ("ts", "<", datetime(2013, 4, 1))]  # noqa: DTZ001 - stored without zone
    table = pq.read_table(path, columns=["station_id", "ts", "PM2_5", "WSPM"], filters=chosen)
    rows = table.set_column(1, "ts", table.column("ts").cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC")))
    rng = np.random.default_rng(0)
    return [
        {**row, "arrived": row["ts"] + (int(rng.integers(1, 9)) if rng.random() < 1 / 12 else 0) * HOUR}
        for row in rows.to_pylist()
    ]


def expected(rows, station, now):
    """The newest row of the station whose whole day of readings had arrived by then."""
    own = [row for row in rows if row["station_id"] == station and row["ts"] <= now]
    for place in range(len(own) - 1, -1, -1):
        day = own[max(0, place - 23) : place + 1]
        if max(row["arrived"] for row in day) <= now:
            values = [row["PM2_5"] for row in day if row["PM2_5"] is not None]
            return (np.mean(values) if values else np.nan), own[place]["WSPM"]
    return np.nan, None


def test_training_values_are_what_had_arrived_at_each_hour(stores, shared_data):
    rows = month(shared_data / "beijing_air_quality.parquet")
    lake, engine, online = Lake(stores), DuckEngine(), MemoryOnlineStore()
    values = [column("PM2_5", "float", required=False), column("WSPM", "float", required=False)]
    keys = [column("station_id", "category"), column("ts", "timestamp")]
    readings = Dataset("readings", push(), event_time="ts", arrival_time="arrived", key=["station_id", "ts"],
                       contract=[*keys, *values, column("arrived", "timestamp")])  # fmt: skip
    days = Dataset("days", push(), event_time="ts", key=["station_id", "ts"],
                   contract=[*keys, column("tomorrow", "float")])  # fmt: skip
    view = feature_view(rolling, readings, entity="station_id", ttl="3d")
    measured = {(row["station_id"], row["ts"]): row["PM2_5"] for row in rows}
    snapshots, computed = {}, []
    for day in range(0, DAYS, STEP):
        start, end = FIRST + day * DAY, FIRST + (day + STEP) * DAY
        came = sorted((row for row in rows if start <= row["arrived"] < end), key=lambda row: row["arrived"])
        snapshots["readings"] = lake.push(readings, pa.Table.from_pylist(came)).snapshot
        known = [
            {"station_id": station, "ts": ts - DAY, "tomorrow": value}
            for (station, ts), value in measured.items()
            if start <= ts < end and ts >= FIRST + DAY and value is not None
        ]
        if known:
            snapshots["days"] = lake.push(days, pa.Table.from_pylist(known)).snapshot
        if day % 12 == 3:
            report = materialize(stores, lake, online, engine, view, snapshots, until=end)
            computed.append(report.how)
            assert parity(stores, lake, online, engine, view, snapshots).equal
    assert computed == ["all", "touched", "touched"]
    spec = training_set_spec(
        "smog", label=label(days.tomorrow, arrives_after="1d"), features=[view], holdout=latest("5d")
    )
    record = TrainingSetBuilder(stores, lake).build(spec, snapshots, FIRST + DAYS * DAY)
    train = read_training_set(record.train_path(stores), record.feature_fields, record.label_field)
    assert len(train) > 1500
    stations = [key.partition("|")[0] for key in train.keys]
    moments = [moment.astype(datetime).replace(tzinfo=UTC) for moment in train.event_times]
    for place in range(0, len(train), 7):
        pm_day, wind = expected(rows, stations[place], moments[place])
        np.testing.assert_allclose(train.X["pm_day"].iloc[place], pm_day, rtol=1e-6)
        np.testing.assert_allclose(train.X["wind"].iloc[place], np.nan if wind is None else wind, rtol=1e-6)
        assert train.y[place] == measured[stations[place], moments[place] + DAY]
