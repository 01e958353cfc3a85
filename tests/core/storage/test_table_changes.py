from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.core.errors import StoreError, UnknownNameError
from loopwright.core.storage.duck import connect
from loopwright.core.storage.table_changes import TableSpan
from loopwright.core.storage.tables import TableStore


def added(tables: TableStore, after: int, until: int, key: tuple[str, ...] = ()) -> Counter[int]:
    query = tables.added_sql(TableSpan("t", after, until), key=key)
    if query is None:
        return Counter()
    with connect() as con:
        return Counter(row[0] for row in con.sql(f"SELECT id FROM ({query})").fetchall())


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.sampled_from(["append", "append", "again", "widen", "compact", "delete"]), min_size=1, max_size=7
    ),
    data=st.data(),
)
def test_whole_rows_are_told_apart_and_counted(tmp_path_factory, steps, data):
    """Against the difference of the two versions as bags of rows."""
    tables = TableStore(tmp_path_factory.mktemp("tables"))
    at_version: dict[int, Counter[int]] = {0: Counter()}
    rows: Counter[int] = Counter()
    for number, step in enumerate(steps):
        if step in {"append", "again", "widen"}:
            # Rows with a further column have ids of their own: an id with and without it would be two rows.
            low = {"again": 0, "append": 100 * number, "widen": 100 * number + 10_000}[step]
            new = [low + i for i in range(data.draw(st.integers(1, 3)))]
            rows = rows + Counter(new)
            columns = {"id": new} | ({f"c{number}": ["x"] * len(new)} if step == "widen" else {})
            tables.append("t", pa.table(columns))
        elif rows and step == "delete":
            gone = data.draw(st.sampled_from(sorted(rows)))
            tables.delete("t", f"id = {gone}")
            rows = Counter({one: count for one, count in rows.items() if one != gone})
        elif rows:
            tables.compact("t")
        at_version[tables.span("t").until] = rows
    for after, before in at_version.items():
        for until, then in at_version.items():
            assert added(tables, after, until) == (Counter() if until <= after else then - before)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["append", "append", "compact"]), min_size=1, max_size=7), data=st.data())
def test_each_row_is_added_once_by_its_key_whatever_is_compacted(tmp_path_factory, steps, data):
    tables = TableStore(tmp_path_factory.mktemp("tables"))
    ids: list[int] = []
    at_version: dict[int, list[int]] = {0: []}
    for step in steps:
        if step == "append":
            new = list(range(len(ids), len(ids) + data.draw(st.integers(1, 3))))
            ids += new
            tables.append("t", pa.table({"id": new}))
        elif ids:
            tables.compact("t")
        at_version[tables.span("t").until] = list(ids)
    for after, before in at_version.items():
        for until, then in at_version.items():
            expected = [] if until <= after else sorted(set(then) - set(before))
            assert sorted(added(tables, after, until, key=("id",)).elements()) == expected


def test_a_key_may_be_null_and_its_name_odd(tmp_path):
    tables = TableStore(tmp_path)
    tables.append("t", pa.table({"id": [1, 2], 'odd "name"': [None, "a"]}))
    tables.append("t", pa.table({"id": [3], 'odd "name"': ["b"]}))
    tables.compact("t")
    assert added(tables, 1, 3, key=('odd "name"',)) == Counter([3])


def test_a_span_has_its_parts(tmp_path):
    tables = TableStore(tmp_path)
    tables.append("t", pa.table({"id": [1]}))
    tables.append("t", pa.table({"id": [2]}))
    span = tables.span("t", 1)
    assert (span.before, span.whole) == (TableSpan("t", 0, 1), TableSpan("t", 0, 2))
    assert added(tables, span.before.after, span.before.until) == Counter([1])
    assert tables.span("nothing/here") == TableSpan("nothing/here", 0, 0)


def test_what_a_vacuum_took_is_missed_not_left_out(tmp_path):
    tables = TableStore(tmp_path)
    for number in range(3):
        tables.append("t", pa.table({"id": [number]}))
    tables.compact("t")
    tables.vacuum("t", timedelta(0), dry_run=False)
    with pytest.raises(Exception, match="No files found"):
        added(tables, 1, 4)
    assert added(tables, 0, 4) == Counter([0, 1, 2])
    with pytest.raises(UnknownNameError, match="t@9"):
        added(tables, 1, 9)


def test_a_partitioned_table_of_another_writer_is_refused(tmp_path):
    rows = pa.table({"city": ["Graz", "Linz"], "id": [1, 2]})
    write_deltalake(str(tmp_path / "tables" / "t"), rows, partition_by=["city"])
    write_deltalake(str(tmp_path / "tables" / "t"), rows, mode="append")
    with pytest.raises(StoreError, match="attach"):
        added(TableStore(tmp_path), 0, 1)
