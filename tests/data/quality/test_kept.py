from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import loopwright.data.quality.kept as kept_module
from loopwright.core.storage.duck import connect
from loopwright.data.contract.check import unique
from loopwright.data.contract.column import column
from loopwright.data.contract.series import increasing
from loopwright.data.quality.aligned import aligned, as_numpy, positions_of
from loopwright.data.quality.check_table import check_table
from loopwright.data.quality.kept import Kept

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.data.quality.report import CheckReport


@given(st.lists(st.integers(0, 49), max_size=20), st.lists(st.integers(0, 49), max_size=20))
def test_the_rows_kept_are_those_that_were_not_dropped(first: list[int], second: list[int]) -> None:
    with connect() as con, pytest.MonkeyPatch.context() as patch:
        con.execute("CREATE TEMP TABLE numbers AS SELECT range AS place FROM range(50)")
        for most in (100, 0):  # by bits, and by a join
            patch.setattr(kept_module, "_MOST_BITS", most)
            kept = Kept(con, "numbers", "place", 50)
            out: set[int] = set()
            for rows in (first, second):
                kept.drop([positions_of(np.array(rows, np.int64))])
                out |= set(rows)
                found = [row[0] for row in con.execute(f"SELECT place FROM {kept.sql()} ORDER BY place").fetchall()]
                assert found == [at for at in range(50) if at not in out]
                assert kept.rows == len(found)


def test_columns_come_in_the_order_of_their_rows_with_what_is_missing() -> None:
    with connect() as con:
        con.execute(
            "CREATE TEMP TABLE unordered AS SELECT 9999 - range AS place, CASE WHEN range % 3 > 0 THEN range END AS v, "
            "DATE '2026-01-01' + range::INTEGER AS d FROM range(10000)"
        )
        read = aligned(con, "unordered", "place", ["v", "d"], 10_000)
    positions, values = read.column("v")
    assert (positions == 9999 - values).all()
    assert (values % 3 > 0).all()
    assert len(values) == 6_666
    days = read.column("d")[1]
    assert (days[:-1] - days[1:] == 1).all()


def test_a_slice_is_read_from_its_first_value() -> None:
    values, there = as_numpy(pa.array([1, 2, None, 4])[1:])
    assert there is not None
    assert values[there].tolist() == [2, 4]


CONTRACT = [
    column("note", "string", matches="note [0-9]+"),
    column("day", "string", format="%Y-%m-%d", not_matches="1999.*"),
    column("code", "string", length=3),
    unique("number"),
    unique("wide"),
    increasing("number"),
]


def orders(rows: int) -> pa.Table:
    """Give rows of which some break each rule."""
    number = np.arange(rows)
    number[7::97] = number[6::97][: len(number[7::97])]
    number[50::191] = 3
    number[120] = -5
    return pa.table(
        {
            "note": [None if at % 101 == 0 else f"note {at % 7}" if at % 89 else f"bad {at % 5}" for at in range(rows)],
            "day": [
                ("2026-01-02", "1999-01-01", "2026-13-01")[at % 50 % 3 if at % 50 < 3 else 0] for at in range(rows)
            ],
            "code": [("abc", "ab", "abcd")[0 if at % 60 > 2 else at % 60] for at in range(rows)],
            "number": number,
            "wide": number.astype(np.int64) * 10**12,
        }
    )


def shown(report: CheckReport) -> dict[str, list[int]]:
    return {one.check: report.rows_failing(one.check) for one in report.results}


def test_a_dictionary_of_values_is_judged_as_the_values_are(tmp_path: Path) -> None:
    table = orders(5_000)
    pq.write_table(table, tmp_path / "with.parquet")
    pq.write_table(table, tmp_path / "without.parquet", use_dictionary=False)
    with_it, without, held = (
        check_table(tmp_path / "with.parquet", CONTRACT),
        check_table(tmp_path / "without.parquet", CONTRACT),
        check_table(table, CONTRACT),
    )
    assert shown(with_it) == shown(without) == shown(held)
    assert with_it.results == without.results == held.results
    assert all(shown(held)[label] for label in ("matches(note)", "format(day)", "not_matches(day)", "length(code)"))
    assert shown(held)["unique(number)"] == shown(held)["unique(wide)"]
    assert shown(held)["increasing(number)"]


def test_many_values_that_break_a_rule_are_found_one_by_one(tmp_path: Path) -> None:
    table = pa.table({"note": [f"bad {at % 80}" for at in range(4_000)]})
    pq.write_table(table, tmp_path / "notes.parquet")
    report = check_table(tmp_path / "notes.parquet", [column("note", "string", matches="note .*")])
    assert report.rows_accepted == 0
    assert len(report.rows_failing("matches(note)")) == 4_000
