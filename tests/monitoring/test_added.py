from __future__ import annotations

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.core.storage.duck import connect
from loopwright.core.storage.tables import TableStore
from loopwright.monitoring.added import Span, newest, rows_added


def added(tables: TableStore, after: int, until: int) -> list[int]:
    query = rows_added(tables, Span("t", after, until), key=("id",))
    if query is None:
        return []
    with connect() as con:
        return sorted(row[0] for row in con.sql(query).fetchall())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["append", "append", "compact"]), min_size=1, max_size=7), data=st.data())
def test_each_row_is_added_once_whatever_is_compacted(tmp_path_factory, steps, data):
    tables = TableStore(tmp_path_factory.mktemp("tables"))
    ids, at_version = [], {0: []}
    for step in steps:
        if step == "append":
            new = list(range(len(ids), len(ids) + data.draw(st.integers(1, 3))))
            ids += new
            tables.append("t", pa.table({"id": new}))
        elif ids:
            tables.compact("t")
        at_version[newest(tables, "t")] = list(ids)
    for after, before in at_version.items():
        for until, then in at_version.items():
            expected = [] if until <= after else sorted(set(then) - set(before))
            assert added(tables, after, until) == expected


def test_a_table_that_is_not_there_has_no_rows(stores):
    assert newest(stores.tables, "nothing/here") == 0
    assert rows_added(stores.tables, Span("nothing/here", 0, 0), key=("id",)) is None
