from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import ContractError, SourceError
from loopwright.core.storage.duck import connect
from loopwright.data.contract.check import expect, unique
from loopwright.data.contract.column import Column, column
from loopwright.data.contract.contract import Contract
from loopwright.data.contract.expression import all_different, all_equal, among_together, compare, sums_to
from loopwright.data.contract.series import decreasing, increasing, outliers
from loopwright.data.contract.statistic import distinct_values, most_common, statistic
from loopwright.data.quality.check_table import check_table
from loopwright.data.quality.checking import Checking
from loopwright.data.quality.judge import Judge
from loopwright.data.quality.opening import opened
from loopwright.data.quality.past import Nothing

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.data.contract.declared import DeclaredCheck
    from loopwright.data.quality.report import CheckReport

NOW = datetime(2026, 5, 1, tzinfo=UTC)
NUMBERS = st.one_of(st.none(), st.integers(-6, 6).map(float), st.sampled_from([0.5, -2.5, 3.25, 1e9]))
WORDS = st.one_of(
    st.none(), st.text("abA1 é", max_size=5), st.sampled_from(["", "2026-01-31", "2026-13-01", "{}", "[1"])
)


def failing(report: CheckReport) -> dict[str, list[int]]:
    return {one.check: report.rows_failing(one.check) for one in report.results if one.rows_failed}


# --- an oracle, value by value, in plain Python --------------------------------------------------------------


def number_fails(item: Column, value: float) -> set[str]:
    found = set()
    low = item.at_least is not None and value < item.at_least  # type: ignore[operator]
    high = item.at_most is not None and value > item.at_most  # type: ignore[operator]
    if item.at_least is not None and item.at_most is not None:
        if low or high:
            found.add("between")
    elif low or high:
        found.add("at_least" if low else "at_most")
    if item.above is not None and not value > item.above:  # type: ignore[operator]
        found.add("above")
    if item.below is not None and not value < item.below:  # type: ignore[operator]
        found.add("below")
    if item.multiple_of is not None and value / item.multiple_of != round(value / item.multiple_of):
        found.add("multiple_of")
    return found | set_fails(item, value)


def set_fails(item: Column, value: object) -> set[str]:
    found = set()
    if item.among is not None and value not in item.among:
        found.add("among")
    if item.not_among is not None and value in item.not_among:
        found.add("not_among")
    return found


def text_fails(item: Column, value: str) -> set[str]:
    found = set_fails(item, value)
    if item.matches is not None and not re.fullmatch(item.matches, value):
        found.add("matches")
    if item.not_matches is not None and re.fullmatch(item.not_matches, value):
        found.add("not_matches")
    if item.starts_with is not None and not value.startswith(item.starts_with):
        found.add("starts_with")
    if item.ends_with is not None and not value.endswith(item.ends_with):
        found.add("ends_with")
    if item.contains is not None and item.contains not in value:
        found.add("contains")
    if item.length is not None:
        low, high = item.length
        if (low is not None and len(value) < low) or (high is not None and len(value) > high):
            found.add("length")
    if item.format is not None and not readable(lambda: datetime.strptime(value, item.format or "")):  # noqa: DTZ007
        found.add("format")
    if item.json and not readable(lambda: json.loads(value)):
        found.add("json")
    return found


def readable(read: object) -> bool:
    try:
        read()  # type: ignore[operator]
    except ValueError:
        return False
    return True


def oracle(item: Column, values: list[object]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        if value is None:
            names = {"required"} if item.required else set()
        else:
            names = number_fails(item, value) if item.type == "float" else text_fails(item, str(value))  # type: ignore[arg-type]
        for name in names:
            found.setdefault(f"{name}({item.name})", []).append(row)
    return found


NUMBER_COLUMNS = [
    column("v", "float", between=(-2, 3)),
    column("v", "float", above=-2, below=3, required=False),
    column("v", "float", at_least=0.5, not_among=[3, 3.25]),
    column("v", "float", at_most=3, multiple_of=0.5),
    column("v", "float", among=[-2.5, 0, 1, 2], below=2),
]
TEXT_COLUMNS = [
    column("v", "string", length=(1, 3), not_among=["a"]),
    column("v", "string", length=2, required=False),
    column("v", "string", matches="[ab]*", ends_with="b"),
    column("v", "category", not_matches="a+", starts_with="a", contains="1"),
    column("v", "string", format="%Y-%m-%d"),
    column("v", "string", json=True, required=False),
]


@pytest.mark.parametrize("item", NUMBER_COLUMNS, ids=lambda item: "+".join(list(item.describe())[2:]))
@settings(max_examples=8, deadline=None)
@given(values=st.lists(NUMBERS, min_size=1, max_size=25))
def test_numbers_fail_where_the_oracle_says(item: Column, values: list[float | None]) -> None:
    assert failing(check_table(pa.table({"v": pa.array(values, pa.float64())}), [item])) == oracle(item, list(values))


@pytest.mark.parametrize("item", TEXT_COLUMNS, ids=lambda item: "+".join(list(item.describe())[2:]))
@settings(max_examples=8, deadline=None)
@given(values=st.lists(WORDS, min_size=1, max_size=25))
def test_texts_fail_where_the_oracle_says(item: Column, values: list[str | None]) -> None:
    assert failing(check_table(pa.table({"v": pa.array(values, pa.string())}), [item])) == oracle(item, list(values))


@settings(max_examples=10, deadline=None)
@given(
    rows=st.lists(st.tuples(NUMBERS, NUMBERS, st.sampled_from(["x", "y", None])), min_size=1, max_size=25),
    low=st.integers(-5, 0),
    high=st.integers(0, 5),
)
def test_an_ingest_and_a_check_judge_a_row_alike(
    rows: list[tuple[float | None, float | None, str | None]], low: int, high: int
) -> None:
    items = [
        column("a", "float", between=(low, high)),
        column("b", "int", required=False, above=low),
        column("c", "category", among=["x"], on_failure="warn"),
        compare("a", "<=", "b"),
    ]
    table = pa.table({name: [row[i] for row in rows] for i, name in enumerate("abc")}).cast(
        pa.schema([("a", pa.float64()), ("b", pa.float64()), ("c", pa.string())])
    )
    report = check_table(table, items)
    batch = table.append_column("_source", pa.repeat(pa.scalar("s"), len(rows)))
    batch = batch.append_column("_source_row", pa.array(range(len(rows)), pa.int64()))
    with connect() as con:
        judged = Judge(con, Contract.of(items)).judge(batch, is_text=False)
    mine = {label: len(positions) for label, positions in failing(report).items()}
    assert mine == judged.failures | judged.warned
    assert report.rows_accepted == judged.good.num_rows


# --- checks that look at other rows ------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    rows=st.lists(st.tuples(NUMBERS, st.sampled_from(["k", "l", None])), min_size=1, max_size=25),
    strictly=st.booleans(),
)
def test_order_is_judged_by_what_came_before(rows: list[tuple[float | None, str | None]], strictly: bool) -> None:
    table = pa.table({"v": pa.array([row[0] for row in rows], pa.float64()), "k": pa.array([row[1] for row in rows])})
    checks = [
        increasing("v", strictly=strictly, on_failure="warn"),
        decreasing("v", strictly=strictly, per="k", on_failure="warn"),
    ]
    wanted: dict[str, list[int]] = {}
    seen: dict[object, float] = {}
    highest = -math.inf
    for row, (value, key) in enumerate(rows):
        if value is None:
            continue
        if value < highest or (strictly and value == highest):
            wanted.setdefault("increasing(v)", []).append(row)
        lowest = seen.get(key, math.inf)
        if value > lowest or (strictly and value == lowest):
            wanted.setdefault("decreasing(v per k)", []).append(row)
        highest, seen[key] = max(highest, value), min(lowest, value)
    assert failing(check_table(table, checks)) == wanted


@settings(max_examples=12, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(0, 2))), min_size=1, max_size=25))
def test_repeated_values_fail_but_for_the_first(rows: list[tuple[int, int | None]]) -> None:
    table = pa.table({"a": [row[0] for row in rows], "b": pa.array([row[1] for row in rows], pa.int64())})
    wanted: dict[str, list[int]] = {}
    seen: set[object] = set()
    for number, row in enumerate(rows):
        for label, value in (("unique(a)", row[0]), ("unique(a, b)", row if row[1] is not None else None)):
            if value is not None and (label, value) in seen:
                wanted.setdefault(label, []).append(number)
            seen.add((label, value))
    checks = [unique("a", on_failure="warn"), unique("a", "b", on_failure="warn")]
    assert failing(check_table(table, checks)) == wanted


@settings(max_examples=12, deadline=None)
@given(
    rows=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=20),
    total=st.integers(-6, 6),
)
def test_rows_are_judged_across_columns(rows: list[tuple[float | None, ...]], total: int) -> None:
    table = pa.table({name: pa.array([row[i] for row in rows], pa.float64()) for i, name in enumerate("abc")})
    checks = [
        sums_to(["a", "b"], total),
        sums_to(["a", "b"], "c"),
        all_equal("a", "b", "c"),
        all_different("a", "b", "c"),
        among_together(["a", "b"], [(0, 0), (1, 2)]),
        *(compare("a", sign, "b") for sign in ("<", "<=", "=", "!=", ">=", ">")),
    ]
    wanted: dict[str, list[int]] = {}
    for row, (a, b, c) in enumerate(rows):
        there = [value for value in (a, b, c) if value is not None]
        holds = {
            f"a + b = {total}": a is None or b is None or math.isclose(a + b, total, abs_tol=1e-9),
            "a + b = c": None in (a, b, c) or abs(a + b - c) <= 1e-9 * max(1, abs(c)),  # type: ignore[operator,arg-type]
            "all_equal(a, b, c)": len(set(there)) <= 1,
            "all_different(a, b, c)": len(set(there)) == len(there),
            "among_together(a, b)": a is None or b is None or (a, b) in {(0, 0), (1, 2)},
        }
        if a is not None and b is not None:
            holds |= {
                "a < b": a < b,
                "a <= b": a <= b,
                "a = b": a == b,
                "a != b": a != b,
                "a >= b": a >= b,
                "a > b": a > b,
            }
        for name, is_fine in holds.items():
            if not is_fine:
                wanted.setdefault(f"expect({name})", []).append(row)
    assert failing(check_table(table, checks)) == wanted


@settings(max_examples=15, deadline=None)
@given(values=st.lists(NUMBERS, min_size=2, max_size=40), mostly=st.sampled_from([0.2, 0.5, 0.8, 0.95]))
def test_mostly_holds_for_the_share_of_rows_that_have_a_value(values: list[float | None], mostly: float) -> None:
    item = column("v", "float", at_least=0, mostly=mostly)
    report = check_table(pa.table({"v": pa.array(values, pa.float64())}), [item])
    there = [row for row, value in enumerate(values) if value is not None]
    below = [row for row in there if values[row] < 0]  # type: ignore[operator]
    absent = [row for row, value in enumerate(values) if value is None]
    for label, bad, seen in (("at_least(v)", below, len(there)), ("required(v)", absent, len(values))):
        result = report.result(label)
        assert report.rows_failing(label) == bad
        assert result.has_passed == (not bad or 1 - len(bad) / seen >= mostly - 1e-12)
    out = {
        row
        for label, bad in (("at_least(v)", below), ("required(v)", absent))
        if not report.result(label).has_passed
        for row in bad
    }
    assert report.rows_accepted == len(values) - len(out)


def test_outliers_are_far_from_the_mean_or_outside_tukeys_fences() -> None:
    values = [float(value) for value in range(20)] + [60.0, None]
    table = pa.table({"v": pa.array(values, pa.float64())})
    assert failing(check_table(table, [outliers("v", deviations=3)])) == {"outliers(v)": [20]}
    assert failing(check_table(table, [outliers("v", deviations=1.5, method="iqr")])) == {"outliers(v)": [20]}
    assert failing(check_table(table, [outliers("v", deviations=50)])) == {}


# --- the rows together -------------------------------------------------------------------------------------

STATISTICS = [
    "mean",
    "median",
    "stdev",
    "variance",
    "min",
    "max",
    "sum",
    "null_share",
    "distinct_count",
    "distinct_share",
]


@settings(max_examples=15, deadline=None)
@given(values=st.lists(NUMBERS, min_size=3, max_size=30), low=st.integers(0, 2), width=st.integers(0, 3))
def test_statistics_lie_where_the_oracle_says(values: list[float | None], low: int, width: int) -> None:
    import statistics as oracle_of  # noqa: PLC0415 - its name is that of ours

    there = [value for value in values if value is not None]
    if len(there) < 2:
        return
    wanted = {
        "mean": oracle_of.fmean(there),
        "median": oracle_of.median(there),
        "stdev": oracle_of.stdev(there),
        "variance": oracle_of.variance(there),
        "min": min(there),
        "max": max(there),
        "sum": math.fsum(there),
        "null_share": 1 - len(there) / len(values),
        "distinct_count": len(set(there)),
        "distinct_share": len(set(there)) / len(there),
    }
    bounds = {name: (low / 10, (low + width) / 10) if "share" in name else (low, low + width) for name in STATISTICS}
    checks: list[DeclaredCheck] = [statistic("v", name, between=bounds[name]) for name in STATISTICS]  # type: ignore[arg-type]
    report = check_table(pa.table({"v": pa.array(values, pa.float64())}), checks)
    for name in STATISTICS:
        first, last = bounds[name]
        close = min(abs(wanted[name] - first), abs(wanted[name] - last)) < 1e-6 * max(1, abs(wanted[name]))
        if not close or name in {"min", "max", "distinct_count", "median"}:
            assert report.result(f"{name}(v)").has_passed == (first <= wanted[name] <= last), name


def test_a_statistic_of_nothing_fails() -> None:
    report = check_table(
        {"v": [None, None]}, [column("v", "float", required=False), statistic("v", "mean", at_least=0)]
    )
    assert not report.result("mean(v)").has_passed
    assert report.has_passed  # it only warns


@settings(max_examples=15, deadline=None)
@given(values=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=12))
def test_sets_of_values(values: list[str | None]) -> None:
    there = [value for value in values if value is not None]
    checks = [
        distinct_values("v", among=["a", "b"]),
        distinct_values("v", contain=["a", "b"]),
        distinct_values("v", equal=["a", "b"]),
        most_common("v", among=["a"]),
    ]
    report = check_table(pa.table({"v": pa.array(values, pa.string())}), checks)
    most = max((there.count(value) for value in there), default=0)
    assert [one.has_passed for one in report.results] == [
        set(there) <= {"a", "b"},
        set(there) >= {"a", "b"},
        set(there) == {"a", "b"},
        bool(there) and there.count("a") == most,
    ]


def test_the_rows_together_are_those_that_are_accepted() -> None:
    checks = [column("v", "float", at_most=10), statistic("v", "max", at_most=10), unique("v")]
    assert check_table({"v": [1.0, 99.0, 2.0, 2.0]}, checks).rows_accepted == 2
    assert check_table({"v": [1.0, 99.0]}, checks).result("max(v)").has_passed


# --- what is read ------------------------------------------------------------------------------------------


def test_every_format_is_judged_alike(tmp_path: Path) -> None:
    table = pa.table({"n": [1, 5, 12], "x": [0.5, None, 2.0], "c": ["a", "b", "zz"], "free": [1, 2, 3]})
    pq.write_table(table, tmp_path / "t.parquet")
    pacsv.write_csv(table, tmp_path / "t.csv")
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    contract = [
        column("n", "int", at_most=10),
        column("x", "float"),
        column("c", "category", length=1),
        unique("n"),
        statistic("free", "sum", at_most=5),
    ]
    wanted = {"at_most(n)": [2], "required(x)": [1], "length(c)": [2]}
    for data in (table, table.to_pandas(), table.to_pylist(), *(f"t.{end}" for end in ("parquet", "csv", "jsonl"))):
        report = check_table(data, contract, project=tmp_path)
        assert (failing(report), report.rows, report.rows_accepted) == (wanted, 3, 1)
        assert report.result("sum(free)").has_passed
        assert report.result("at_most(n)").examples[0].row == 2


def test_rows_of_several_files_are_numbered_through(tmp_path: Path) -> None:
    for name, values in (("a", [1, 20]), ("b", [30, 4])):
        pq.write_table(pa.table({"n": values}), tmp_path / f"{name}.parquet")
    report = check_table("*.parquet", [column("n", "int", at_most=10)], project=tmp_path)
    assert failing(report) == {"at_most(n)": [1, 2]}


def test_a_type_is_kept_to_where_nothing_is_coerced(tmp_path: Path) -> None:
    contract = [
        column("a", "int", coerce=False),
        column("b", "float", coerce=False),
        column("c", "string", coerce=False),
    ]
    table = pa.table(
        {"a": ["1", None], "b": pa.array([1.0, 2.0], pa.float32()), "c": pa.array(["x", "y"]).dictionary_encode()}
    )
    assert failing(check_table(table, contract)) == {"type(a)": [0], "required(a)": [1]}
    pacsv.write_csv(pa.table({"a": [1], "b": [1.5], "c": ["x"]}), tmp_path / "t.csv")
    assert check_table(tmp_path / "t.csv", contract).has_passed
    with connect() as con:
        batch = table.append_column("_source", pa.array(["s", "s"])).append_column("_source_row", pa.array([0, 1]))
        assert Judge(con, Contract.of(contract)).judge(batch, is_text=False).failures == {
            "type(a)": 1,
            "required(a)": 1,
        }


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        ([unique("kmm")], "unknown column 'kmm'.*Did you mean 'km'"),
        ([increasing("kmm")], "unknown column 'kmm'"),
        ([statistic("k", "mean", at_least=0)], "unknown column 'k'"),
        ([column("kms", "float")], "unknown column 'kms'"),
        ([statistic("name", "mean", at_least=0)], "needs numbers"),
        ([outliers("name")], "needs numbers"),
        ([expect("kmm > 3")], "unknown column 'kmm'"),
        ([expect("km >")], "cannot be computed"),
    ],
)
def test_what_cannot_be_checked_is_said(contract: list[DeclaredCheck], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        check_table({"km": [1.0], "name": ["a"]}, contract)


def test_data_that_are_not_there_are_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        check_table("none.csv", [], project=tmp_path)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceError, match="cannot be read"):
        check_table("broken.parquet", [], project=tmp_path)


class Counted:
    """A connection that counts its queries."""

    def __init__(self, con: object) -> None:
        self.con = con
        self.queries: list[str] = []

    def sql(self, query: str, **options: object) -> object:
        self.queries.append(query)
        return self.con.sql(query, **options)  # type: ignore[attr-defined]

    def execute(self, query: str, *options: object) -> object:
        if not query.startswith(("CREATE", "DESCRIBE")) and not query.endswith("LIMIT 0"):
            self.queries.append(query)
        return self.con.execute(query, *options)  # type: ignore[attr-defined]

    def register(self, name: str, table: object) -> None:
        self.con.register(name, table)  # type: ignore[attr-defined]


def many_checks(count: int) -> Contract:
    names = [f"c{number}" for number in range(count)]
    per_column = [column(name, "float", between=(0, 1), mostly=0.5 if i % 2 else None) for i, name in enumerate(names)]
    across = [increasing(name, on_failure="warn") for name in names] + [
        unique(name, on_failure="warn") for name in names
    ]
    together = [statistic(name, kind, at_least=0) for name in names for kind in ("mean", "stdev", "median")]  # type: ignore[arg-type]
    return Contract.of([*per_column, *across, *together, *(compare(name, "<=", "c0") for name in names[1:])])


def test_the_number_of_queries_does_not_grow_with_the_checks(tmp_path: Path) -> None:
    table = pa.table({f"c{number}": [0.1, 0.5, 2.0, 0.2, 0.2] for number in range(12)})
    pq.write_table(table, tmp_path / "t.parquet")
    counts = []
    for count in (1, 3, 12):
        with connect() as con:
            counted = Counted(con)
            relation = opened(counted, "t.parquet", tmp_path, tmp_path / "spill")  # type: ignore[arg-type]
            checking = Checking(counted, many_checks(count), past=Nothing(), now=NOW)  # type: ignore[arg-type]
            report = checking.run("t", relation)
        assert len(report.results) >= 6 * count
        counts.append(len(counted.queries))
    assert counts[1] == counts[2] <= 8  # rows, repeated values and which, order and of how many, together, examples
    assert counts[0] <= counts[1]


def test_an_ingest_judges_a_batch_in_as_many_queries_whatever_the_checks() -> None:
    counts = []
    for count in (1, 12):
        names = [f"c{number}" for number in range(count)]
        checks = [expect(f"c{number} < {limit}") for number in range(count) for limit in range(3, 6)]
        contract = Contract.of([*(column(name, "float", between=(0, 1), not_among=[0.3]) for name in names), *checks])
        batch = pa.table({name: [0.1, 9.0] for name in names} | {"_source": ["s", "s"], "_source_row": [0, 1]})
        with connect() as con:
            counted = Counted(con)
            judged = Judge(counted, contract).judge(batch, is_text=False)  # type: ignore[arg-type]
        assert judged.good.num_rows == 1
        counts.append(len(counted.queries))
    assert counts[0] == counts[1] <= 3
