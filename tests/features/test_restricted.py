from __future__ import annotations

import ibis
import numpy as np

import loopwright as lw
from loopwright.data.dataset import Dataset
from loopwright.features.field import Field
from loopwright.features.on_demand import on_demand
from loopwright.features.restricted import restricted_features
from loopwright.features.view import feature_view

RIDES = Dataset(
    "rides",
    lw.push(),
    event_time="at",
    key="ride",
    contract=[lw.column("fare", "float", sensitive=True), lw.column("km", "float")],
)
SCHEMA = ibis.schema(
    {
        "ride": "string", "driver": "string", "at": "timestamp('UTC', 6)", "km": "float64", "fare": "float64",
        "_arrived_at": "timestamp('UTC', 6)", "_ingest_id": "string", "_source": "string", "_source_row": "int64",
    }
)  # fmt: skip


def test_features_made_of_restricted_columns_are_restricted_whatever_they_are_called() -> None:
    spent = feature_view(lambda t: t.select("driver", "at", much=t.fare * 2), RIDES, entity="driver", name="spent")
    far = feature_view(lambda t: t.select("driver", "at", length=t.km * 2), RIDES, entity="driver", name="far")
    later = feature_view(lambda t: t.select("driver", "at", more=t.much), spent, entity="driver", name="later")
    rounded = on_demand(np.round, RIDES.fare, name="rounded")
    short = on_demand(np.round, RIDES.km, name="short")
    fields = [
        Field("much", "float64", origin="view", source="spent"),
        Field("length", "float64", origin="view", source="far"),
        Field("more", "float64", origin="view", source="later"),
        Field("rounded", "float64", origin="transform", source="rounded"),
        Field("short", "float64", origin="transform", source="short"),
        Field("km", "float64", source="rides"),
    ]
    declared = [spent, far, later, rounded, short, RIDES.km]
    assert restricted_features(declared, fields, {"rides": SCHEMA}) == ("much", "more", "rounded")
    assert restricted_features(declared, fields, {}) == ("much", "length", "more", "rounded")
