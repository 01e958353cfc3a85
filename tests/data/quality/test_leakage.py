from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import UnknownNameError
from loopwright.data.quality.leakage import find_leaks

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(5)


def found(table: pa.Table, target: str, **options: object) -> dict[str, tuple[str, ...]]:
    return {leak.kind: leak.features for leak in find_leaks(table, target, **options)}  # type: ignore[arg-type]


def noise(rows: int = 3000, columns: int = 4) -> dict[str, np.ndarray]:
    return {f"x{i}": RNG.normal(size=rows) for i in range(columns)}


def test_the_parts_of_a_count_leak_it(shared_data: Path) -> None:
    table = pq.read_table(shared_data / "bike_sharing_hour.parquet")
    leaks = find_leaks(table, "cnt", event_time="ts")
    assert [(leak.kind, leak.features) for leak in leaks] == [
        ("identity", ("casual", "registered")),
        ("identifier", ("instant",)),
    ]
    assert leaks[0].reason == "casual + registered = cnt, up to rounding."
    honest = [name for name in table.column_names if name not in {"casual", "registered", "instant", "cnt"}]
    assert find_leaks(table, "cnt", honest, event_time="ts") == ()


@pytest.mark.parametrize(
    ("file", "target", "expected"),
    [
        ("elec2", "label", {"determines": ("y",), "identifier": ("row",)}),
        ("elec2", "nswprice", {"identifier": ("row",)}),
        ("telco_churn", "Churn", {"identifier": ("customerID",)}),
        ("telco_churn", "MonthlyCharges", {"identifier": ("customerID",)}),
        ("sms_spam", "label", {"identifier": ("row",)}),
        ("fashion_mnist_png", "label", {"determines": ("label_name",)}),
        ("beijing_air_quality", "PM2_5", {}),
        ("beijing_air_quality", "TEMP", {}),
        ("beijing_air_quality", "CO", {}),
    ],
)
def test_real_data_are_accused_of_nothing_else(
    file: str, target: str, expected: dict[str, tuple[str, ...]], shared_data: Path
) -> None:
    table = pq.read_table(shared_data / f"{file}.parquet")
    times = {"elec2": "ts_nominal", "beijing_air_quality": "ts"}
    options = {"event_time": times.get(file), "entity": ["station_id"] if file.startswith("beijing") else []}
    assert found(table, target, **options) == expected


@settings(max_examples=25)
@given(factors=st.lists(st.sampled_from([-3, -2, -1, 1, 2, 3]), min_size=2, max_size=3), rest=st.integers(-5, 5))
def test_every_sum_of_two_or_three_is_found_and_nothing_else(factors: list[int], rest: int) -> None:
    columns = noise(600, 6)
    names = list(columns)[: len(factors)]
    target = sum((f * columns[name] for f, name in zip(factors, names, strict=True)), start=np.full(600, float(rest)))
    leaks = find_leaks(pa.table({**columns, "y": target}), "y")
    assert [leak.features for leak in leaks if leak.kind == "identity"] == [tuple(names)]


@settings(max_examples=25)
@given(seed=st.integers(0, 2**16), classes=st.integers(2, 6))
def test_noise_is_never_accused(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    columns = {f"x{i}": rng.normal(size=400) for i in range(5)}
    columns["c"] = rng.integers(0, 300, 400).astype(float)
    table = pa.table({**columns, "y": rng.integers(0, classes, 400)})
    assert find_leaks(table, "y") == ()
    assert find_leaks(table, "x0") == ()


def test_a_copy_a_renaming_and_a_telling_gap_determine() -> None:
    y = RNG.integers(0, 2, 2000)
    table = pa.table(
        {
            **noise(2000),
            "renamed": np.where(y, "yes", "no"),
            "closed_on": pa.array([None if one else 7.0 for one in y]),
            "nearly": np.where(RNG.random(2000) < 0.3, 1 - y, y),
            "y": y,
        }
    )
    leaks = find_leaks(table, "y")
    assert {(leak.kind, leak.features) for leak in leaks} == {
        ("determines", ("closed_on",)),
        ("determines", ("renamed",)),
    }
    price = RNG.gamma(2.0, size=2000)
    assert found(pa.table({**noise(2000), "with_tax": price * 1.25 + 3, "price": price}), "price") == {
        "determines": ("with_tax",)
    }


def test_what_is_known_after_the_event_is_late() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    events = [start + timedelta(minutes=n) for n in range(300)]
    table = pa.table(
        {
            "placed_at": events,
            "delivered_at": [one + timedelta(hours=1) for one in events],
            "ordered_before": [one - timedelta(days=1) for one in events],
            "stars": RNG.integers(1, 6, 300),
            "y": RNG.normal(size=300),
        }
    )
    assert found(table, "y", event_time="placed_at") == {"late": ("delivered_at",)}
    delays = {"stars": timedelta(hours=3), "ordered_before": timedelta(0)}
    leaks = find_leaks(table, "y", ["stars", "ordered_before"], delays=delays, label_delay=timedelta(hours=2))
    assert [leak.features for leak in leaks if leak.kind == "late"] == [("stars",)]


def test_the_next_target_is_a_leak_and_the_last_one_is_none() -> None:
    rows = []
    for entity in range(4):
        values = RNG.normal(size=200).cumsum()
        rows += [
            {
                "e": entity,
                "t": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=n),
                "y": values[n],
                "last": values[n - 1],
                "next": values[n + 1] * 2 + 1,
            }
            for n in range(3, 195)
        ]
    table = pa.Table.from_pylist(rows)
    assert found(table, "y", event_time="t", entity=["e"]) == {"shifted": ("next",)}


def test_a_million_rows_take_a_bounded_time() -> None:
    columns = {f"x{i}": RNG.normal(size=1_000_000) for i in range(20)}
    table = pa.table({**columns, "y": columns["x3"] - 2 * columns["x7"]})
    began = time.process_time()
    assert found(table, "y") == {"identity": ("x3", "x7")}
    assert time.process_time() - began < 3.0  # measured: 0.3 s; three times a second is a machine in trouble


def test_little_and_wrong_input() -> None:
    assert find_leaks(pa.table({"a": [1, 2], "y": [1, 2]}), "y") == ()
    assert find_leaks(pa.table({"a": list(range(99)), "y": [None] * 99}), "y") == ()
    assert find_leaks(pa.table({"y": list(range(99))}), "y") == ()
    with pytest.raises(UnknownNameError, match="'z'"):
        find_leaks(pa.table({"a": [1], "y": [1]}), "z")
