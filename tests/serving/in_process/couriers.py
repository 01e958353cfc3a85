"""A model that is asked for a courier alone and takes the pace from the online store, and where its versions stand."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from loopwright.evaluation.outputs import Outputs
from loopwright.features.assembly import FeatureAssembly
from loopwright.features.field import Field
from loopwright.features.lookup import ViewLookup
from loopwright.features.online import OnlineRow, entity_key
from loopwright.features.request import RequestField
from loopwright.registry.golden import Golden
from loopwright.registry.signature import OutputSpec, Signature
from loopwright.serving.models.model_source import Target
from loopwright.serving.releases.router import Routing

DAY_US = 86_400_000_000


class Eta:
    """Answers ``pace + 1000 * version``, with -1 for no pace; fails for the courier ``mallory``."""

    form = "onnx"

    def __init__(self, number: int) -> None:
        self.number = number
        self.version = SimpleNamespace(id=f"eta/{number}")
        fields = (Field("pace", "float64", origin="view"), Field("km", "float64"))
        self.signature = Signature(fields, OutputSpec("regression"))
        view = ViewLookup("courier_pace", "1", ("courier_id",), timedelta(days=7), fields[:1])
        inputs = (RequestField("courier_id", "string"), RequestField("km", "float", required=False))
        self.assembly = FeatureAssembly(inputs, fields, (view,))

    def predict(self, rows) -> Outputs:
        km = np.nan_to_num(np.asarray(rows["km"], dtype=np.float64))
        if (km < 0).any():
            raise ZeroDivisionError("a way back")
        pace = np.nan_to_num(np.asarray(rows["pace"], dtype=np.float64), nan=-1.0)
        return Outputs("regression", pace + km + 1000 * self.number)

    def golden(self) -> Golden:
        table = pa.table({"pace": [1.0, 2.0], "km": [0.0, 1.0]})
        return Golden(table, Outputs("regression", np.array([1.0, 3.0]) + 1000 * self.number))


class Source:
    """Says which version is champion."""

    def __init__(self, champion: int | None = 1) -> None:
        self.routing = None if champion is None else Routing(champion)
        self.counter = 0

    def put(self, champion: int, challenger: int | None = None, **options) -> None:
        self.routing = Routing(champion, challenger, **options)
        self.counter += 1

    def change_counter(self) -> int:
        return self.counter

    def target(self, model: str) -> Target | None:
        if model != "eta" or self.routing is None:
            return None
        other = self.routing.challenger
        return Target(self.routing, f"eta/{self.routing.champion}", None if other is None else f"eta/{other}")

    def load(self, version_id: str) -> Eta:
        return Eta(int(version_id.partition("/")[2]))

    def size_bytes(self, version_id: str) -> int | None:  # noqa: ARG002 - the source's signature
        return None

    def refuse(self, model: str, version_id: str, reason: str) -> None:  # noqa: ARG002
        raise AssertionError(f"{version_id}: {reason}")


def pace_row(courier: str, pace: float, at_us: int) -> OnlineRow:
    return OnlineRow(entity_key((courier,)), at_us, at_us, {"pace": pace})
