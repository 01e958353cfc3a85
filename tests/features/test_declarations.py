from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import FeatureError
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.sources.push import push
from loopwright.features.field import Field, field_of
from loopwright.features.label import is_mature, label
from loopwright.features.on_demand import on_demand
from loopwright.features.split import entities, fraction, latest
from loopwright.features.training_spec import training_set_spec
from loopwright.features.view import feature_view

START = datetime(2026, 1, 1, tzinfo=UTC)
orders = Dataset(
    "orders",
    push(),
    event_time="placed_at",
    key="order_id",
    contract=[
        column("order_id", "string"),
        column("distance_km", "float"),
        column("minutes", "float"),
        column("city", "category"),
    ],
)
other = Dataset("other", push(), contract=[column("x", "float")])


def examples(seconds, keys=None, **columns):
    return pa.table(
        {
            "__event_time__": pa.array(
                [START + timedelta(seconds=second) for second in seconds], pa.timestamp("us", tz="UTC")
            ),
            "__key__": keys or [f"k{index}" for index in range(len(seconds))],
            **columns,
        }
    )


def test_declarations_import_no_engine():
    code = (
        "import sys; from loopwright.features import label, split, view, on_demand, field; "
        "print([name for name in ('ibis', 'pandas', 'pyarrow', 'duckdb') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_label_matures():
    target = label(orders.minutes, arrives_after="2h")
    assert (target.dataset.name, target.name, target.arrives_after) == ("orders", "minutes", timedelta(hours=2))
    assert not is_mature(START, START + timedelta(hours=2, microseconds=-1), target)
    assert is_mature(START, START + timedelta(hours=2), target)


@pytest.mark.parametrize("early", ["-2h", -1, timedelta(seconds=-1)])
def test_a_label_before_its_event_leaks(early):
    with pytest.raises(FeatureError, match="would leak"):
        label(orders.minutes, arrives_after=early)


def test_a_label_with_a_wrong_duration():
    with pytest.raises(FeatureError, match="is not a duration"):
        label(orders.minutes, arrives_after="soon")


def test_latest_cuts_before_the_newest_example():
    mask = latest("10s").assign(examples([0, 5, 90, 91, 100]))
    assert mask.tolist() == [False, False, False, True, True]


@given(st.sets(st.text(min_size=1), min_size=2, max_size=50), st.floats(0.1, 0.9), st.integers(0, 3))
def test_an_example_keeps_its_side_when_others_come(keys, share, seed):
    split = fraction(share, seed=seed)
    names = sorted(keys)
    whole = split._mask(examples(range(len(names)), names))
    half = split._mask(examples(range(len(names) // 2), names[: len(names) // 2]))
    assert whole.tolist()[: len(names) // 2] == half.tolist()


def test_fraction_is_about_the_share():
    keys = [f"order-{index}" for index in range(20_000)]
    assert fraction(0.2).assign(examples(range(20_000), keys)).mean() == pytest.approx(0.2, abs=0.01)


def test_entities_go_whole():
    couriers = [f"c{index % 40}" for index in range(400)]
    mask = entities(0.3, by="courier").assign(examples(range(400), courier=couriers))
    held = {courier for courier, is_held in zip(couriers, mask, strict=True) if is_held}
    free = {courier for courier, is_held in zip(couriers, mask, strict=True) if not is_held}
    assert held
    assert not held & free


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (latest("1h"), "The training part would be empty: 3 examples with a known label, of which 3"),
        (fraction(0.0001), "The holdout would be empty: 3 examples with a known label, of which 0"),
        (entities(0.5, by="courier"), "divides by the column 'courier'"),
    ],
)
def test_an_empty_side_is_refused_with_the_numbers(split, message):
    with pytest.raises(FeatureError, match=message):
        split.assign(examples([0, 1, 2]))


@pytest.mark.parametrize(
    "wrong", [lambda: latest("0s"), lambda: latest("x"), lambda: fraction(1.0), lambda: entities(0, by="a")]
)
def test_splits_that_cannot_be(wrong):
    with pytest.raises(FeatureError):
        wrong()


def test_a_views_version_follows_its_definition():
    def one(orders):
        """First.

        Second.
        """
        return orders.select("a")

    def two(orders):
        return orders.select("b")

    first = feature_view(one, orders, entity="courier_id", name="v")
    assert first.version == feature_view(one, orders, entity="courier_id", name="v").version
    assert first.version != feature_view(two, orders, entity="courier_id", name="v").version
    assert first.version != feature_view(one, orders, entity="courier_id", name="v", ttl="7d").version
    assert (first.event_time, first.description, str(first.ref)) == ("placed_at", "First.", f"view:v@{first.version}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), {"entity": "a"}), "reads no dataset"),
        (((orders,), {"entity": ("a", "")}), "names no column"),
        (((orders,), {"entity": ("a", "a")}), "names a key column twice"),
        (((orders,), {"entity": {"a": ""}}), "names no column"),
        (((other,), {"entity": "a"}), "has no event time"),
        (((orders,), {"entity": "a", "ttl": "0s"}), "no row would ever count"),
        (((orders,), {"entity": "a", "ttl": "never"}), "is not a duration"),
    ],
)
def test_views_that_cannot_be(arguments, message):
    with pytest.raises(FeatureError, match=message):
        feature_view(lambda table: table, *arguments[0], **arguments[1])


def test_a_transform_takes_columns_groups_and_datasets():
    transform = on_demand(len, orders, name="f")
    assert [ref.name for ref in transform.inputs] == ["distance_km", "minutes", "city"]
    assert [ref.name for ref in on_demand(len, orders["city", "minutes"], orders.distance_km).inputs] == [
        "city",
        "minutes",
        "distance_km",
    ]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), "has no input"),
        ((orders.city, other.x), "several datasets"),
        (("city",), "must be a column"),
        ((orders.city,), "batch_rows=0"),
    ],
)
def test_transforms_that_cannot_be(inputs, message):
    with pytest.raises(FeatureError, match=message):
        on_demand(len, *inputs, batch_rows=0 if message.startswith("batch") else 10)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([], "has no features"),
        ([orders.minutes], "is also a feature: it leaks"),
        ([on_demand(len, orders["city", "minutes"])], "is also an input of the transform 'len': it leaks"),
        ([other.x], "of another dataset than the label"),
        ([orders.city, orders["city", "distance_km"]], "Two features of 'eta' are named 'city'"),
        (["city"], "is str 'city'"),
    ],
)
def test_training_sets_that_cannot_be(features, message):
    with pytest.raises(FeatureError, match=message):
        training_set_spec("eta", label=label(orders.minutes), features=features, holdout=fraction(0.2))


def test_fields():
    with pytest.raises(FeatureError, match="a model cannot take"):
        field_of("image", "image", required=True)
    with pytest.raises(FeatureError, match="arrays hold numbers"):
        Field("x", "string", shape=(3,))
    field = Field("city", "category", categories=("a", "b"), nullable=False, source="orders")
    assert Field.from_json(field.to_json()) == field
    assert np.prod(Field("x", "float32", shape=(2, 3)).shape) == Field("x", "float32", shape=(2, 3)).width
