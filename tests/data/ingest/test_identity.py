"""Keys and uniqueness against a brute-force oracle that walks the rows one by one."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.storage.duck import connect
from loopwright.data.contract.check import unique
from loopwright.data.ingest.identity import Identified, Identity
from loopwright.data.ingest.stage import POSITION

Row = tuple[int | None, str | None]  # key, value
ROWS = st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 4)), st.sampled_from(["a", "b", None])), max_size=14)
STORED = st.dictionaries(st.integers(0, 4), st.sampled_from(["a", "b", None]), max_size=4)


def identify(stored: list[Row], staged: list[Row], key: tuple[str, ...], policy: str, *uniques: object) -> Identified:
    schema = pa.schema([("k", pa.int64()), ("v", pa.string())])
    with connect(threads=1) as con:
        rows = pa.table([[k for k, _ in staged], [v for _, v in staged]], schema=schema)
        rows = rows.append_column(POSITION, pa.array(range(len(staged)), pa.int64()))
        rows = rows.append_column("_source", pa.array(["s"] * len(staged), pa.string()))
        con.register("staged", rows.append_column("_source_row", rows[POSITION]))
        con.register("stored", pa.table([[k for k, _ in stored], [v for _, v in stored]], schema=schema))
        return Identity(con, ["k", "v"], ["k", "v"]).judge(key, policy, uniques)  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["quarantine", "ignore", "upsert"])
@settings(max_examples=12, deadline=None)
@given(stored=STORED, staged=ROWS)
def test_keys(policy: str, stored: dict[int, str | None], staged: list[Row]) -> None:
    current: dict[int, str | None] = dict(stored)
    duplicates, bad, superseding = 0, [], 0
    for position, (key, value) in enumerate(staged):
        if key is None:
            continue
        if key not in current:
            current[key] = value
        elif policy == "upsert":
            if current[key] == value:
                duplicates += 1
            else:
                superseding += 1
                current[key] = value
        elif current[key] == value or policy == "ignore":
            duplicates += 1
        else:
            bad.append(position)
    found = identify(list(stored.items()), staged, ("k",), policy)
    assert (found.duplicates, found.superseding) == (duplicates, superseding)
    assert found.quarantined["_source_row"].to_pylist() == bad
    assert found.failures == ({"key(k)": len(bad)} if bad else {})
    assert len(found.dropped) == duplicates + len(bad)


@settings(max_examples=12, deadline=None)
@given(stored=STORED, staged=ROWS)
def test_unique_without_a_key(stored: dict[int, str | None], staged: list[Row]) -> None:
    seen = {value for value in stored.values() if value is not None}
    bad = []
    for position, (_, value) in enumerate(staged):
        if value is not None and value in seen:
            bad.append(position)
        elif value is not None:
            seen.add(value)
    found = identify(list(stored.items()), staged, (), "quarantine", unique("v"))
    assert found.quarantined["_source_row"].to_pylist() == bad
    warned = identify(list(stored.items()), staged, (), "quarantine", unique("v", on_failure="warn"))
    assert warned.warned == ({"unique(v)": len(bad)} if bad else {})
    assert warned.quarantined.num_rows == 0
