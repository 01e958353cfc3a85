"""A small project for the stories: parcels whose price follows their weight, in daily CSV files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

PROJECT = '''
"""Parcels: the price from the weight."""
import loopwright as lw

loop = lw.Loop("parcels")
parcels = loop.dataset(
    "parcels",
    source=lw.files("data/*.csv"),
    event_time="sent_at",
    key="parcel_id",
    contract=[
        lw.column("parcel_id", "string"),
        lw.column("weight_kg", "float", between=(0, 100)),
        lw.column("zone", "category", among=["near", "far"]),
        lw.column("sent_at", "timestamp"),
        lw.column("price", "float", at_least=0),
    ],
)


@loop.features(parcels, entity="zone", ttl="30d")
def zone_mean(parcels):
    """Mean weight of the zone's earlier parcels."""
    import ibis

    before = ibis.window(group_by="zone", order_by="sent_at", preceding=50, following=-1)
    return parcels.select("zone", "sent_at", zone_weight=parcels.weight_kg.mean().over(before))


@loop.transform(parcels.weight_kg)
def heavy(weight_kg):
    """Whether a parcel weighs more than 30 kg."""
    import numpy as np

    return (np.asarray(weight_kg, dtype=np.float64) > 30).astype(np.float64)


@loop.model(
    "price",
    label=lw.label(parcels.price, arrives_after="2h"),
    features=[parcels["weight_kg"], heavy, zone_mean],
    holdout=lw.latest("12h"),
    metrics=["mae"],
    gates=[lw.beats_champion("mae"), lw.at_most("mae", 5.0)],
)
def price(train: lw.TrainingSet, params: lw.Params, seed: int):
    from sklearn.linear_model import Ridge
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    lw.log_metric("rows", len(train))
    newest = train.take(train.event_times.argsort()[-60:])  # the world changes: learn from the newest
    return make_pipeline(SimpleImputer(), Ridge()).fit(newest.X, newest.y)


loop.deploy(price, online=lw.online(canary=[50, 100], min_requests_per_step=5, step_time="0s"))
loop.monitor(price, latency_p99="200ms", errors=0.01, drift="200 rows")
loop.retrain(price, on=[lw.loss_above_reference(fresh_rows=100)], cooldown="0s")
'''
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def write_day(folder: Path, day: int, *, rows: int = 60, factor: float = 2.0) -> list[dict[str, object]]:
    """Write one day's parcels; the price is ``3 + factor x weight``, without noise but for the last digit."""
    made = []
    for number in range(rows):
        weight = 1 + (number * 7 + day * 13) % 60
        made.append(
            {
                "parcel_id": f"p{day:03d}-{number:03d}",
                "weight_kg": weight,
                "zone": "near" if number % 2 else "far",
                "sent_at": (FIRST_DAY + timedelta(days=day, minutes=number)).isoformat(),
                "price": round(3 + factor * weight + 0.1 * ((number * 31 + day) % 7 - 3), 2),
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join(made[0]), *(",".join(str(value) for value in row.values()) for row in made)]
    partial = folder / f"day-{day:03d}.partial"
    partial.write_text("\n".join(lines) + "\n")
    partial.rename(folder / f"day-{day:03d}.csv")
    return made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with six days of parcels, the first of which has one row that breaks the contract."""
    (tmp_path / "loop.py").write_text(PROJECT)
    for day in range(6):
        write_day(tmp_path / "data", day)
    with (tmp_path / "data" / "day-000.csv").open("a") as file:
        file.write("p000-bad,-4,near,2026-01-01T03:00:00+00:00,1\n")
    return tmp_path


SMALL_PROJECT = '''
"""Parcels: the price is three and twice the weight."""
import loopwright as lw

loop = lw.Loop("parcels")
parcels = loop.dataset(
    "parcels",
    source=lw.files("data/*.csv"),
    event_time="sent_at",
    key="parcel_id",
    contract=[
        lw.column("parcel_id", "string"),
        lw.column("weight_kg", "float", between=(0, 100)),
        lw.column("sent_at", "timestamp"),
        lw.column("price", "float", at_least=0),
    ],
)


@loop.model(
    "price",
    label=lw.label(parcels.price),
    features=[parcels["weight_kg"]],
    holdout=lw.fraction(0.3),
    metrics=["mae"],
    gates=[lw.at_most("mae", 5.0)],
)
def price(train):
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(train.X, train.y)


loop.deploy(price, online=lw.online())
'''


def write_parcels(folder: Path, name: str = "a", rows: int = 200) -> Path:
    """Write a CSV file of parcels, the price of which is exactly ``3 + 2 x weight``."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    lines = [
        f"{name}{n:06d},{1 + n % 60},{(start + timedelta(seconds=n)).isoformat()},{5 + 2 * (n % 60)}"
        for n in range(rows)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name}.partial"
    partial.write_text("\n".join(["parcel_id,weight_kg,sent_at,price", *lines, ""]))
    return partial.rename(folder / f"{name}.csv")


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """A project that takes seconds: one file, one linear model, deployed."""
    (tmp_path / "loop.py").write_text(SMALL_PROJECT)
    write_parcels(tmp_path / "data")
    return tmp_path
