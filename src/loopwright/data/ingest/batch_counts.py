"""Counts, batch by batch, what became of the rows of an ingest that took several batches together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from loopwright.data.ingest.stage import SOURCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.data.ingest.stage import Stage
    from loopwright.data.sources.plan import Known


def count_batches(stage: Stage, batches: Sequence[Known]) -> dict[str, dict[str, object]]:
    """Return, for each batch, its report: rows read, accepted, quarantined, duplicate, and the reasons by label."""
    good = _counts(_column(stage, "good", SOURCE))
    bad_sources = _column(stage, "bad", SOURCE)
    bad = _counts(bad_sources)
    reasons: dict[str, dict[str, int]] = {}
    if bad:
        for source, failed in zip(bad_sources.to_pylist(), _column(stage, "bad", "reasons").to_pylist(), strict=True):
            mine = reasons.setdefault(source, {})
            for one in failed:
                label = f"{one['check']}({one['column']})"
                mine[label] = mine.get(label, 0) + 1
    return {
        one.name: {
            "rows_read": one.rows,
            "rows_accepted": good.get(one.name, 0),
            "rows_quarantined": bad.get(one.name, 0),
            "rows_duplicate": one.rows - good.get(one.name, 0) - bad.get(one.name, 0),
            "reasons": dict(sorted(reasons.get(one.name, {}).items())),
            "units": 1,
        }
        for one in batches
    }


def _column(stage: Stage, kind: str, name: str) -> pa.ChunkedArray:
    rows = stage.rows(kind)
    if rows is None:
        return pa.chunked_array([], pa.string())
    table = rows if isinstance(rows, pa.Table) else rows.read_all()
    return table[name]


def _counts(values: pa.ChunkedArray) -> dict[str, int]:
    return {one["values"]: one["counts"] for one in pc.value_counts(values).to_pylist()}
