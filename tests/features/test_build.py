from __future__ import annotations

from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pytest

from loopwright.core.errors import FeatureError
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.sources.push import push
from loopwright.features.assembly import assembly_from_bytes, assembly_to_bytes
from loopwright.features.build import TrainingSetBuilder
from loopwright.features.examples import read_training_set
from loopwright.features.label import label
from loopwright.features.on_demand import on_demand
from loopwright.features.split import entities, fraction, latest
from loopwright.features.store import FeatureStore
from loopwright.features.training_spec import training_set_spec
from loopwright.features.view import feature_view

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def orders():
    return Dataset(
        "orders",
        push(),
        event_time="placed_at",
        key="order_id",
        on_duplicate="upsert",
        contract=[
            column("order_id", "string"),
            column("placed_at", "timestamp"),
            column("courier_id", "string"),
            column("distance_km", "float", between=(0, 200)),
            column("city", "category", among=["Oslo", "Bergen"]),
            column("minutes", "float", at_least=0, required=False),
        ],
    )


def order_table(rows=200, seed=0):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "order_id": [f"o{i}" for i in range(rows)],
            "placed_at": pa.array(
                [START + timedelta(minutes=30 * i) for i in range(rows)], pa.timestamp("us", tz="UTC")
            ),
            "courier_id": [f"c{i}" for i in rng.integers(0, 4, rows)],
            "distance_km": rng.uniform(1, 20, rows),
            "city": rng.choice(["Oslo", "Bergen"], rows).tolist(),
            "minutes": rng.uniform(5, 60, rows),
        }
    )


def courier_pace(orders):
    """Minutes per kilometre over the courier's last 20 orders."""
    last_20 = ibis.window(group_by="courier_id", order_by="placed_at", preceding=20, following=-1)
    return orders.select("courier_id", "placed_at", pace=(orders.minutes / orders.distance_km).mean().over(last_20))


def spec_of(orders, *features, holdout=None):
    return training_set_spec(
        "eta", label=label(orders.minutes, arrives_after="2h"), features=features, holdout=holdout or latest("1d")
    )


def oracle_pace(table, index):
    """What was known of the courier's pace at the moment of one order, row by row."""
    rows = table.to_pylist()
    now, courier = rows[index]["placed_at"], rows[index]["courier_id"]
    best = None
    mine = [row for row in rows if row["courier_id"] == courier]
    for position, row in enumerate(mine):
        window = mine[max(0, position - 20) : position]
        known_at = max([row["placed_at"], *(other["placed_at"] + timedelta(hours=2) for other in window)])
        if known_at <= now and row["placed_at"] > now - timedelta(days=7):
            paces = [other["minutes"] / other["distance_km"] for other in window]
            best = np.mean(paces) if paces else np.nan
    return np.nan if best is None else best


def test_the_view_of_the_design_gives_what_was_known_and_no_more(stores, lake, orders):
    table = order_table()
    snapshot = lake.add(orders, table)
    view = feature_view(courier_pace, orders, entity="courier_id", ttl="7d")
    spec = spec_of(orders, orders["distance_km", "city"], view)
    record = TrainingSetBuilder(stores, lake).build(spec, {"orders": snapshot}, START + timedelta(days=30))
    assert record.rows_train + record.rows_holdout == 200
    train = read_training_set(record.train_path(stores), record.feature_fields, record.label_field)
    assert train.feature_names == ["distance_km", "city", "pace"]
    assert str(train.X["city"].dtype) == "category"
    index = {key: position for position, key in enumerate(table.column("order_id").to_pylist())}
    expected = [oracle_pace(table, index[key]) for key in train.keys]
    np.testing.assert_allclose(train.X["pace"].to_numpy(), expected)
    assert record.known_at == {"orders": "event_time"}
    assert record.warnings == ()


def test_a_later_target_never_changes_an_earlier_feature(stores, lake, orders, clock):
    table = order_table()
    view = feature_view(courier_pace, orders, entity="courier_id", ttl="7d")
    spec = spec_of(orders, view, holdout=fraction(0.5))
    builder = TrainingSetBuilder(stores, lake)

    def features(changed_from):
        clock.advance(1)
        minutes = table.column("minutes").to_numpy().copy()
        minutes[changed_from:] += 1000
        changed = table.set_column(table.column_names.index("minutes"), "minutes", pa.array(minutes))
        record = builder.build(spec, {"orders": lake.add(orders, changed)}, START + timedelta(days=30))
        train = read_training_set(record.train_path(stores), record.feature_fields, record.label_field)
        return dict(zip(train.keys, train.X["pace"], strict=True))

    whole, cut = features(200), features(100)
    known_by = START + timedelta(minutes=30 * 100, hours=2)
    for position, key in enumerate(table.column("order_id").to_pylist()):
        if key in whole and START + timedelta(minutes=30 * position) < known_by:
            np.testing.assert_equal(whole[key], cut[key])


def test_the_second_build_is_the_first(stores, lake, orders):
    snapshot = lake.add(orders, order_table())
    spec = spec_of(orders, orders.distance_km)
    builder = TrainingSetBuilder(stores, lake)
    first = builder.build(spec, {"orders": snapshot}, START + timedelta(days=30))
    assert builder.build(spec, {"orders": snapshot}, START + timedelta(days=40)) == first
    earlier = builder.build(spec, {"orders": snapshot}, START + timedelta(days=3))
    assert earlier.digest != first.digest
    assert earlier.last_event <= START + timedelta(days=3) - timedelta(hours=2)
    record = first.train_path(stores)
    record.unlink()
    assert first.train_path(stores).exists()  # fetched from the store


def test_the_training_file_holds_no_sealed_entity(stores, lake, orders):
    snapshot = lake.add(orders, order_table())
    spec = spec_of(orders, orders["distance_km", "courier_id"], holdout=entities(0.4, by="courier_id", seed=1))
    record = TrainingSetBuilder(stores, lake).build(spec, {"orders": snapshot}, START + timedelta(days=30))
    train = read_training_set(record.train_path(stores), record.feature_fields, record.label_field)
    held = read_training_set(record.holdout_path(stores), record.feature_fields, record.label_field)
    assert not set(train.X["courier_id"]) & set(held.X["courier_id"])
    assert len(train) == record.rows_train
    assert len(held) == record.rows_holdout


def test_training_and_requests_give_the_same_input(stores, lake, orders):
    table = order_table()
    snapshot = lake.add(orders, table)

    def shape(distance, city):
        return np.stack([np.log(distance), (city == "Oslo").astype(float)], axis=1)

    features = (orders["distance_km", "city"], on_demand(shape, orders["distance_km", "city"], batch_rows=7))
    record = TrainingSetBuilder(stores, lake).build(
        spec_of(orders, *features), {"orders": snapshot}, START + timedelta(days=30)
    )
    train = read_training_set(record.train_path(stores), record.feature_fields, record.label_field)
    store = FeatureStore(stores, lake)
    assembly = assembly_from_bytes(assembly_to_bytes(store.assembly(spec_of(orders, *features), record)))
    rows = {row["order_id"]: row for row in table.to_pylist()}
    assembled = assembly.assemble([{k: v for k, v in rows[key].items() if k != "minutes"} for key in train.keys])
    assert assembled.ignored == ()
    assert assembled.X.equals(train.X)
    assert list(assembled.X.dtypes) == list(train.X.dtypes)


def test_images_reach_the_transform_as_bytes(stores, lake):
    digits = Dataset(
        "digits",
        push(),
        key="file",
        contract=[column("file", "string"), column("image", "image"), column("digit", "int")],
    )
    images = [bytes([i, i + 1, i + 2, i + 3]) for i in range(50)]
    refs = stores.payloads.put_many(images)
    snapshot = lake.add(
        digits, pa.table({"file": [f"{i}.png" for i in range(50)], "image": refs, "digit": [i % 10 for i in range(50)]})
    )

    def pixels(image):
        assert isinstance(image[0], bytes)
        return np.stack([np.frombuffer(data, np.uint8) for data in image]).reshape(-1, 2, 2)

    spec = training_set_spec(
        "digits", label=label(digits.digit), features=[on_demand(pixels, digits.image)], holdout=fraction(0.3)
    )
    record = TrainingSetBuilder(stores, lake).build(spec, {"digits": snapshot}, START + timedelta(days=1))
    train = read_training_set(record.train_path(stores), record.feature_fields, record.label_field)
    assert train.X.shape == (record.rows_train, 2, 2)
    assert train.X.dtype == np.float32
    for key, row, target in zip(train.keys, train.X, train.y, strict=True):
        number = int(key.removesuffix(".png"))
        assert row.ravel().tolist() == list(images[number])
        assert target == number % 10


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda orders: orders.select("placed_at", x=orders.distance_km), "no entity column 'courier_id'"),
        (lambda orders: orders.select("courier_id", x=orders.distance_km), "no event-time column 'placed_at'"),
        (lambda orders: orders.select("courier_id", "placed_at"), "no feature column"),
        (lambda _: 7, "returned int"),
        (lambda orders: orders.nonsense, "raised AttributeError"),
        (lambda orders: orders.select("courier_id", placed_at=orders.distance_km, x=1), "no timestamp"),
        (lambda orders: orders.union(orders).select("courier_id", "placed_at", x=1), "returns 2 rows for courier_id="),
        (lambda orders: orders.mutate(x=orders.city.cast("int")), "cannot be computed"),
        (lambda orders: orders.select("courier_id", "placed_at", x=ibis.array([1.0])), "is no feature"),
        (lambda orders: orders.select("courier_id", "placed_at", distance_km=orders.minutes), "stands for two things"),
    ],
)
def test_a_view_that_breaks_its_rules_gets_one_clear_message(stores, lake, orders, function, message):
    snapshot = lake.add(orders, order_table(20))
    view = feature_view(function, orders, entity="courier_id", name="pace")
    spec = spec_of(orders, orders.distance_km, view, holdout=fraction(0.5))
    with pytest.raises(FeatureError, match=message):
        TrainingSetBuilder(stores, lake).build(spec, {"orders": snapshot}, START + timedelta(days=30))
