"""Parity: do the values that are served equal those of the offline join, value by value?"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loopwright.core.errors import FeatureError
from loopwright.core.storage.duck import quote_name, quote_text
from loopwright.features.materialize import ROWS_PER_WRITE, inputs_of, plain_values, view_key
from loopwright.features.online import OnlineStore, Value, entity_key, from_micros

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from loopwright.core.storage.stores import Stores
    from loopwright.data.lake import Lake
    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.features.engine import FeatureEngine
    from loopwright.features.label import Label
    from loopwright.features.view import FeatureView

_SAMPLE = "__sample__"


@dataclass(frozen=True)
class Difference:
    """One value that is not the same online and offline."""

    key: str
    feature: str
    online: Value
    offline: Value


@dataclass(frozen=True)
class ParityReport:
    """How the online values compare with the offline ones.

    Attributes:
        view: The view, as ``name@version``.
        at: The moment of the comparison: that up to which the store was filled.
        entities: How many entities were compared.
        values: How many values were compared.
        differences: The values that differ.
    """

    view: str
    at: datetime
    entities: int
    values: int
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether all values were the same."""
        return not self.differences


def parity(
    stores: Stores,
    lake: Lake,
    online: OnlineStore,
    engine: FeatureEngine,
    view: FeatureView,
    snapshots: Mapping[str, Snapshot],
    *,
    labels: Sequence[Label] = (),
    sample: int = 1000,
) -> ParityReport:
    """Compare online values with the offline join at the moment up to which the store was filled.

    Args:
        stores: As in ``materialize``.
        lake: As in ``materialize``.
        online: What to compare.
        engine: What computes the offline side.
        view: Which view.
        snapshots: The snapshots that the store should reflect.
        labels: As in ``materialize``.
        sample: The most entities to compare, chosen by hash.

    Raises:
        FeatureError: If the view was never materialised.
    """
    key = view_key(view)
    mark = json.loads(online.mark(key) or "{}")
    if not mark:
        raise FeatureError(f"The view '{view.name}' was never materialised.", hint="Run materialize first.")
    at = from_micros(mark["until"])
    with engine.open(inputs_of(stores, lake, view, snapshots)) as session:
        rows = session.compute(view, labels)
        session.desk.register("__entities__", session.entities(rows, limit=sample))
        keys = [quote_name(name) for name in view.entity]
        columns = "".join(f"{key}, " for key in keys)
        session.desk.execute(
            f"CREATE OR REPLACE TEMP TABLE {_SAMPLE} AS SELECT row_number() OVER () AS __row__, {columns}"
            f"TIMESTAMPTZ {quote_text(at.isoformat())} AS __at__ FROM __entities__"
        )
        same_names = replace(rows, join=replace(rows.join, on=view.entity))
        joined = session.join(
            _SAMPLE, [same_names], time="__at__", columns=view.entity, order="__row__", batch=ROWS_PER_WRITE
        ).read_all()
        session.desk.unregister("__entities__")
    offline = {name: plain_values(joined.column(name)) for name in joined.column_names}
    texts = [entity_key([offline[name][place] for name in view.entity]) for place in range(joined.num_rows)]
    served = online.read_many(key, texts, now=at, ttl=view.ttl)
    differences: list[Difference] = []
    for place, (text, found) in enumerate(zip(texts, served, strict=True)):
        for field in rows.fields:
            left, right = None if found is None else found.values.get(field.name), offline[field.name][place]
            if not _same(left, right):
                differences.append(Difference(text, field.name, left, right))
    return ParityReport(key, at, len(texts), len(texts) * len(rows.fields), tuple(differences))


def _same(left: Value, right: Value) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12)
    return left == right
