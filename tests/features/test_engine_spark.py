from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pytest

from loopwright.core.errors import FeatureError, SettingsError
from loopwright.core.ids import Ids, seeded_entropy
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.features.build import TrainingSetBuilder
from loopwright.features.conformance.engine import FeatureEngineConformance, orders_table
from loopwright.features.conformance.engine_operations import EngineOperationsConformance
from loopwright.features.engine import Inputs
from loopwright.features.engine_spark import SparkEngine
from loopwright.features.engines import open_engine
from loopwright.features.label import label
from loopwright.features.materialize import materialize, view_key
from loopwright.features.online import MemoryOnlineStore, entity_key
from loopwright.features.parity import parity
from loopwright.features.split import latest
from loopwright.features.training_spec import training_set_spec
from loopwright.features.view import feature_view

START = datetime(2026, 1, 1, tzinfo=UTC)
# One Spark for all tests here; its Java compiles quickly rather than well, which halves the time of short queries.
JAVA = "spark.driver.extraJavaOptions=-XX:TieredStopAtLevel%3D1+-XX:%2BUseSerialGC"
URL = f"spark://local[2]?spark.sql.shuffle.partitions=2&{JAVA}"
pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="no Java runtime is installed")


@pytest.fixture
def engine():
    pytest.importorskip("pyspark")
    return SparkEngine(URL, memory_bytes=1_000_000_000)


class TestSparkEngine(FeatureEngineConformance):
    pass


class TestSparkEngineOperations(EngineOperationsConformance):
    pass


def courier_pace(orders):
    """Minutes per kilometre over the courier's last five orders, and how many they were."""
    last = ibis.window(group_by="courier_id", order_by="placed_at", preceding=5, following=-1)
    pace = (orders.minutes / orders.distance_km).mean().over(last)
    return orders.select("courier_id", "placed_at", pace=pace, n=orders.count().over(last), where=orders.city)


def city_hour(orders):
    """Orders of each city by the hour, at the hour's end."""
    hours = orders.mutate(hour=orders.placed_at.truncate("h") + ibis.interval(hours=1))
    return hours.group_by("city", "hour").agg(orders=hours.count(), far=hours.distance_km.max())


def stores_of(folder, clock, **settings):
    found = Settings.load(folder, environ={f"LOOPWRIGHT_{name.upper()}": value for name, value in settings.items()})
    return open_stores(found, clock=clock, ids=Ids(clock, seeded_entropy(0)))


def upserted_orders(lake):
    """Push orders, some of them a second time with other values."""
    contract = [
        column("order_id", "int"), column("placed_at", "timestamp"), column("courier_id", "int", required=False),
        column("city", "category"), column("distance_km", "float"), column("minutes", "float", required=False),
    ]  # fmt: skip
    dataset = Dataset(
        "orders", push(), event_time="placed_at", key="order_id", on_duplicate="upsert", contract=contract
    )
    lake.push(dataset, orders_table(120))
    corrected = orders_table(120, seed=5).take(list(range(0, 120, 7)))
    return dataset, lake.push(dataset, corrected).snapshot


def built_by(url, folder, clock):
    """Build a training set, fill an online store twice and compare it, all by the engine that the settings name."""
    stores = stores_of(folder, clock, engine_url=url, engine_memory="1GB")
    try:
        lake, online = Lake(stores), MemoryOnlineStore()
        dataset, snapshot = upserted_orders(lake)
        assert snapshot.latest_by == ("order_id",)
        pace = feature_view(courier_pace, dataset, entity="courier_id", ttl="1d")
        cities = feature_view(city_hour, dataset, entity="city", event_time="hour")
        target = label(dataset.minutes, arrives_after="2h")
        features = [dataset["distance_km"], pace, cities]
        spec = training_set_spec("eta", label=target, features=features, holdout=latest("6h"))
        record = TrainingSetBuilder(stores, lake).build(spec, {"orders": snapshot}, START + timedelta(days=9))
        files = [pa.ipc.open_file(path).read_all() for path in (record.train_path(stores), record.holdout_path(stores))]
        engine, snapshots = open_engine(stores.settings), {"orders": snapshot}
        reports = []
        for view, hours in ((pace, 30), (pace, 31), (cities, 31)):
            until = START + timedelta(hours=hours)
            filled = materialize(stores, lake, online, engine, view, snapshots, labels=[target], until=until)
            reports.append(filled)
        for view in (pace, cities):
            checked = parity(stores, lake, online, engine, view, snapshots, labels=[target])
            assert checked.equal
            assert checked.entities > 1
        kept = [
            online.read_many(
                view_key(view), [entity_key([key]) for key in keys], now=START + timedelta(hours=31), ttl=view.ttl
            )
            for view, keys in ((pace, range(5)), (cities, ["Oslo", "Bergen"]))
        ]
        return files, reports, kept, engine.name
    finally:
        stores.close()


def test_a_training_set_and_an_online_store_are_the_same_as_duckdbs(tmp_path, clock, engine):
    """Row by row, of upserted orders, with labels that arrive late and views of two entities."""
    (tmp_path / "duckdb").mkdir()
    (tmp_path / "spark").mkdir()
    left = built_by("duckdb://", tmp_path / "duckdb", clock)
    right = built_by(URL, tmp_path / "spark", clock)
    assert (left[3], right[3]) == ("duckdb", "spark")
    for mine, theirs in zip(left[0], right[0], strict=True):
        assert mine.schema.equals(theirs.schema)
        assert mine.num_rows == theirs.num_rows > 10
        for name in mine.column_names:
            if pa.types.is_floating(mine.schema.field(name).type):
                np.testing.assert_allclose(mine[name].to_numpy(), theirs[name].to_numpy(), rtol=1e-12)
            else:
                assert mine[name].equals(theirs[name]), name
    assert left[1] == right[1]
    assert left[2] == right[2]


def test_urls_that_name_no_place_are_refused():
    for url in ("spark://", "spark://local[x]", "spark://host", "spark://local[2]?memory=4g"):
        with pytest.raises(SettingsError):
            SparkEngine(url)


def test_a_cluster_that_is_not_there_is_named(stores, lake):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(FeatureError, match=f"cannot be reached .127.0.0.1:{port}") as caught:
        SparkEngine(f"spark://127.0.0.1:{port}").open(Inputs(stores, lake, {}))
    assert "duckdb://" in caught.value.hint


def test_without_java_the_next_step_is_named(tmp_path):
    """In a process of its own, whose path leads to no Java; nothing but the message is said."""
    program = (
        "from pathlib import Path\n"
        "from loopwright.core.errors import FeatureError\n"
        "from loopwright.features.spark_process import SparkPlace, open_session\n"
        "try:\n    open_session(SparkPlace.parse('spark://local[1]'), scratch=Path('.'))\n"
        "except FeatureError as error:\n    print(error)\n"
    )
    environment = {"PATH": "/nonexistent", "HOME": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "could not start Java" in found.stdout
    assert "JAVA_HOME" in found.stdout
    assert found.stderr == ""
