from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import ContractError
from loopwright.core.storage.duck import connect
from loopwright.data.contract.check import expect
from loopwright.data.contract.column import Column, column
from loopwright.data.contract.contract import Contract
from loopwright.data.quality.judge import Judge, Judged

MISSING = {"", "nan", "na", "n/a", "null", "none"}


def judge(contract: list[object], columns: dict[str, pa.Array], *, is_text: bool, **options: object) -> Judged:
    rows = len(next(iter(columns.values())))
    batch = pa.table(columns | {"_source": pa.array(["s"] * rows), "_source_row": pa.array(range(rows), pa.int64())})
    with connect() as con:
        return Judge(con, Contract.of(contract), **options).judge(batch, is_text=is_text)  # type: ignore[arg-type]


def reasons(judged: Judged) -> dict[int, set[tuple[str, str]]]:
    return {
        row["_source_row"]: {(reason["check"], reason["column"]) for reason in row["reasons"]}
        for row in judged.bad.to_pylist()
    }


# --- an independent reading, value by value, in plain Python -------------------------------------------------


def read(item: Column, raw: object) -> tuple[bool, object]:
    """(is it there, its value or None)."""
    if raw is None or (isinstance(raw, float) and math.isnan(raw)):
        return False, None
    if item.type in {"string", "category", "text"}:
        return True, raw if isinstance(raw, str) else str(raw)
    if isinstance(raw, str) and raw.strip(" ").lower() in MISSING:
        return False, None
    text = raw.strip(" ") if isinstance(raw, str) else raw
    if item.type == "float":
        try:
            value = float(text) if "_" not in str(text) else None  # type: ignore[arg-type]
        except ValueError:
            return True, None
        return True, None if value is None or math.isnan(value) else value
    if item.type == "int":
        try:
            number = float(text) if "_" not in str(text) else math.nan  # type: ignore[arg-type]
        except ValueError:
            return True, None
        whole = math.isfinite(number) and number == int(number) and abs(number) < 2**63
        return True, int(number) if whole else None
    if item.type == "bool":
        word = str(text).lower()
        if word in {"true", "t", "yes", "y", "1", "1.0"}:
            return True, True
        return True, False if word in {"false", "f", "no", "n", "0", "0.0"} else None
    raise AssertionError(item.type)


def expected(item: Column, raw: object) -> set[str]:
    there, value = read(item, raw)
    if not there:
        return {"required"} if item.required else set()
    if value is None:
        return {"type"}
    failed = set()
    if isinstance(value, float) and math.isinf(value):
        failed.add("finite")
    low = item.at_least is not None and value < item.at_least  # type: ignore[operator]
    high = item.at_most is not None and value > item.at_most  # type: ignore[operator]
    if (low or high) and item.at_least is not None and item.at_most is not None:
        failed.add("between")
    elif low:
        failed.add("at_least")
    elif high:
        failed.add("at_most")
    if item.among is not None and value not in item.among:
        failed.add("among")
    if item.matches is not None and not re.fullmatch(item.matches, str(value)):
        failed.add("matches")
    return failed


NUMBERS = st.one_of(
    st.integers(-50, 50).map(str),
    st.floats(-1e6, 1e6).map(repr),
    st.sampled_from(
        [
            "",
            " ",
            "nan",
            "NaN",
            "NA",
            "n/a",
            "null",
            "None",
            "inf",
            "-inf",
            "Infinity",
            "abc",
            "1_000",
            "1,5",
            "+7",
            " 8 ",
        ]
    ),
    st.sampled_from(["3.0", "3.7", "1e3", "--1", "5.", ".5", "0x10", "9007199254740993", "1e30", "-0", "true", " 8 "]),
)
TEXTS = st.one_of(
    st.sampled_from(["Oslo", "Bergen", "", " ", "oslo", "NA", "AB12", "AB1"]), st.text("aZ1é ", max_size=4)
)
COLUMNS = [
    (column("v", "float", between=(-10, 10)), NUMBERS),
    (column("v", "float", required=False, at_least=0), NUMBERS),
    (column("v", "int", at_most=20), NUMBERS),
    (column("v", "int", required=False, among=[1, 2, 3, 1000]), NUMBERS),
    (column("v", "category", among=["Oslo", "Bergen"]), TEXTS),
    (column("v", "string", required=False, matches="[A-Z]{2}[0-9]+"), TEXTS),
    (column("v", "bool"), st.sampled_from(["true", "No", " y ", "0", "2", "", "NA", "T", "off", "1"])),
    (column("v", "bool", required=False), NUMBERS),
]


@pytest.mark.parametrize("case", range(len(COLUMNS)))
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_text_values_are_judged_as_the_oracle_does(case: int, data: st.DataObject) -> None:
    item, cells = COLUMNS[case]
    values = data.draw(st.lists(st.one_of(st.none(), cells), min_size=1, max_size=30))
    judged = judge([item], {"v": pa.array(values, pa.string())}, is_text=True)
    found = reasons(judged)
    wanted = {row: {(check, "v") for check in expected(item, raw)} for row, raw in enumerate(values)}
    assert found == {row: checks for row, checks in wanted.items() if checks}
    kept = [row for row in range(len(values)) if not wanted[row]]
    assert judged.good["_source_row"].to_pylist() == kept
    assert judged.good["v"].to_pylist() == [read(item, values[row])[1] for row in kept]


@settings(max_examples=15, deadline=None)
@given(values=st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), min_size=1, max_size=20))
def test_numbers_are_judged_as_the_oracle_does(values: list[float | None]) -> None:
    for item in (column("v", "float", at_least=0), column("v", "int", required=False)):
        judged = judge([item], {"v": pa.array(values, pa.float64())}, is_text=False)
        wanted = {row: {(check, "v") for check in expected(item, raw)} for row, raw in enumerate(values)}
        assert reasons(judged) == {row: checks for row, checks in wanted.items() if checks}


def test_times_are_read_in_utc() -> None:
    judged = judge(
        [column("t", "timestamp"), column("d", "date", at_least="2026-01-01")],
        {
            "t": pa.array(["2026-01-01T12:00:00+02:00", "2026-01-01", "01/02/2026", "infinity", "2026-01-01 10:00:00"]),
            "d": pa.array(["2026-01-01", "2025-12-31", "2026-02-30", "2026-01-02", "2026-01-01T23:30:00-02:00"]),
        },
        is_text=True,
    )
    assert reasons(judged) == {1: {("at_least", "d")}, 2: {("type", "t"), ("type", "d")}, 3: {("type", "t")}}
    assert judged.good["t"].to_pylist() == [datetime(2026, 1, 1, 10, tzinfo=UTC)] * 2
    assert judged.good["d"].to_pylist() == [date(2026, 1, 1), date(2026, 1, 2)]


def test_expression_passes_where_it_is_unknown() -> None:
    judged = judge(
        [column("a", "float", required=False), column("b", "string"), expect("a / b::INTEGER <= 2", name="ratio")],
        {"a": pa.array([1.0, 9.0, None, 1.0]), "b": pa.array(["1", "1", "1", "no number"])},
        is_text=False,
    )
    assert reasons(judged) == {1: {("expect", "ratio")}}


def test_expression_over_an_unknown_column_says_which() -> None:
    with pytest.raises(ContractError, match=r"'minuts'.*Did you mean 'minutes'"):
        judge([expect("minuts > 3")], {"minutes": pa.array([1.0])}, is_text=False)
    with pytest.raises(ContractError, match="cannot be computed"):
        judge([expect("minutes >")], {"minutes": pa.array([1.0])}, is_text=False)


def test_warnings_keep_the_row_and_stops_are_reported() -> None:
    judged = judge(
        [column("a", "float", at_most=1, on_failure="warn"), column("b", "int", on_failure="stop")],
        {"a": pa.array(["2", "0"]), "b": pa.array(["1", "x"])},
        is_text=True,
    )
    assert judged.warned == {"at_most(a)": 1}
    assert judged.stopped == {"type(b)": 1}
    assert judged.good["a"].to_pylist() == [2.0]


def test_undeclared_columns_are_inferred_from_text_once() -> None:
    with connect() as con:
        judging = Judge(con, Contract())
        first = pa.table(
            {
                "n": ["1", "", "3"],
                "zip": ["01234", "5", "6"],
                "x": ["1.5", "2", None],
                "ok": ["true", "False", ""],
                "at": ["2026-01-01", "", "2026-01-02T10:00:00Z"],
                "word": ["a", "1", ""],
                "_source": ["s"] * 3,
                "_source_row": [0, 1, 2],
            }
        )
        good = judging.judge(first, is_text=True).good
        kinds = {name: good.schema.field(name).type for name in ("n", "zip", "x", "ok", "at", "word")}
        assert kinds == {
            "n": pa.int64(),
            "zip": pa.string(),
            "x": pa.float64(),
            "ok": pa.bool_(),
            "at": pa.timestamp("us", tz="UTC"),
            "word": pa.string(),
        }
        second = pa.table({"n": ["x", "4"], "_source": ["s"] * 2, "_source_row": [3, 4]})
        judged = judging.judge(second, is_text=True)
        assert reasons(judged) == {3: {("type", "n")}}


def test_raw_row_survives_as_json() -> None:
    judged = judge(
        [column("a", "float")],
        {"a": pa.array([math.inf]), "b": pa.array([b"xyz"]), "c": pa.array(['quo"te'])},
        is_text=False,
    )
    assert judged.bad["raw"].to_pylist() == ['{"a":"inf","b":"3 bytes","c":"quo\\"te"}']
