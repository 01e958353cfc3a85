"""Checks that look at more than one row, as an ingest judges them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from loopwright.core.errors import ContractError, IngestStoppedError, UnknownNameError
from loopwright.core.storage.duck import connect
from loopwright.data.contract.check import expect, fresh, row_count, unique
from loopwright.data.contract.column import column
from loopwright.data.contract.expected import distribution, volume
from loopwright.data.contract.header import column_count, column_names
from loopwright.data.contract.series import increasing, outliers, references
from loopwright.data.contract.statistic import distinct_values, most_common, statistic
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.quality.past import unusual_volume
from loopwright.data.quality.profile_run import measure
from loopwright.data.sources.files import files
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores
    from loopwright.data.contract.declared import DeclaredCheck


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def dataset(*contract: object, name: str = "rows", **options: object) -> Dataset:
    return Dataset(name, push(), contract=list(contract), **options)  # type: ignore[arg-type]


def values(*given: float | None) -> list[dict[str, object]]:
    return [{"v": value} for value in given]


def kept(lake: Lake, name: str = "rows") -> list[object]:
    return lake.read(lake.snapshot(name), columns=["v"])["v"].to_pylist()


CASES = [
    (increasing("v"), [1.0, 3.0, 2.0, 4.0], [1.0, 3.0, 4.0], "increasing(v)"),
    (outliers("v", deviations=1.4), [1.0, 1.0, 1.0, 50.0], [1.0, 1.0, 1.0], "outliers(v)"),
    (expect("v < 3", name="few", mostly=0.9), [1.0, 2.0, 3.0], [1.0, 2.0], "expect(few)"),
]


@pytest.mark.parametrize(("check", "given", "left", "label"), CASES, ids=lambda one: getattr(one, "label", ""))
def test_rows_that_others_show_to_be_wrong_are_kept_out_warned_of_or_stop_it(
    lake: Lake, check: DeclaredCheck, given: list[float], left: list[float], label: str
) -> None:
    strict = dataset(replace(check, on_failure="stop"))  # type: ignore[call-arg]
    with pytest.raises(IngestStoppedError, match="1 rows"):
        lake.push(strict, values(*given))
    warned = lake.push(dataset(replace(check, on_failure="warn"), name="warned"), values(*given))  # type: ignore[call-arg]
    assert warned.rows_accepted == len(given)
    assert warned.warnings == (f"{label}: 1 rows, kept",)
    report = lake.push(dataset(replace(check, on_failure="quarantine")), values(*given))  # type: ignore[call-arg]
    assert report.reasons == {label: 1}
    assert (report.rows_accepted, report.rows_quarantined) == (len(left), 1)
    assert kept(lake) == left
    (entry,) = lake.quarantine("rows").entries(limit=5)
    assert entry.source_row == given.index(next(one for one in given if one not in left))


def test_a_share_of_a_columns_rows_may_fail(lake: Lake) -> None:
    rows = dataset(column("v", "float", at_most=10, mostly=0.6))
    assert lake.push(rows, values(1, 2, 30, None, 3)).reasons == {}  # 3 of 4 values, and 4 of 5 rows have one
    report = lake.push(rows, values(1, 20, 30, None))
    assert report.reasons == {"at_most(v)": 2}
    assert kept(lake) == [1, 2, 30, None, 3, 1, None]


def test_values_must_exist_in_another_dataset(lake: Lake) -> None:
    couriers = dataset(column("id", "int"), name="couriers")
    rows = dataset(column("v", "int", required=False), references("v", couriers["id"]))
    with pytest.raises(ContractError, match=r"'couriers' has no rows yet.*data ingest couriers"):
        lake.push(rows, values(1))
    lake.push(couriers, [{"id": 1}, {"id": 2}])
    report = lake.push(rows, values(1, 7, None, 2))
    assert report.reasons == {"references(v in couriers.id)": 1}
    assert kept(lake) == [1, None, 2]
    with pytest.raises(ContractError, match="Did you mean 'id'"):
        lake.push(dataset(references("v", "couriers.idd"), name="other"), values(1))


def test_several_columns_refer_together(lake: Lake) -> None:
    pairs = dataset(name="pairs")
    lake.push(pairs, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}])
    rows = dataset(references(["v", "w"], pairs["a", "b"]))
    report = lake.push(rows, [{"v": 1, "w": "x"}, {"v": 1, "w": "y"}, {"v": None, "w": "y"}, {"v": 2, "w": "y"}])
    assert report.rows_quarantined == 1
    assert kept(lake) == [1, None, 2]


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        (statistic("v", "mean", at_most=1), "mean(v) failed: mean is 2, above 1"),
        (statistic("v", "distinct_count", at_least=4), "distinct_count(v) failed: distinct_count is 3, below 4"),
        (distinct_values("v", among=[1, 2]), "distinct_values(v among) failed: 1 other value, such as 3"),
        (most_common("v", among=[9]), "most_common(v) failed: the most common value is 1, 2, 3"),
        (column_count(at_most=0 + 1, at_least=1), None),
        (column_names("v", "w"), "column_names(2) failed: no column w"),
        (row_count(at_least=4), "row_count failed: 3 good rows"),
        (row_count(same_as="couriers"), "row_count(same_as couriers) failed: 3 rows, and couriers has 0"),
    ],
)
def test_an_ingest_is_judged_as_a_whole(lake: Lake, check: DeclaredCheck, problem: str | None) -> None:
    report = lake.push(dataset(check), values(1, 2, 3))
    assert report.warnings == (() if problem is None else (problem,))
    if problem is not None:
        with pytest.raises(IngestStoppedError, match="Nothing was stored"):
            lake.push(dataset(replace(check, on_failure="stop"), name="strict"), values(1, 2, 3))  # type: ignore[call-arg]
        assert "strict" not in lake.names()


def test_the_accepted_rows_are_judged(lake: Lake) -> None:
    rows = dataset(column("v", "int", at_most=9), unique("v"), statistic("v", "sum", at_most=3), row_count(at_most=2))
    assert lake.push(rows, values(1, 99, 2, 2)).warnings == ()


def test_age_is_that_of_the_newest_accepted_event(lake: Lake) -> None:
    rows = dataset(column("v", "int"), fresh("1h"), event_time="at")
    assert lake.push(rows, [{"v": 1, "at": "2025-12-31T23:30:00Z"}]).warnings == ()
    assert "the newest event is 7200 s old" in lake.push(rows, [{"v": 2, "at": "2025-12-31T22:00:00Z"}]).warnings[0]


def test_the_number_of_rows_is_compared_with_history(lake: Lake) -> None:
    rows = dataset(volume(factor=2, least_history=3))
    for start in range(3):
        assert lake.push(rows, [{"v": start * 100 + i} for i in range(10)]).warnings == ()
    assert "2 rows, where 5 to 20 were expected (median of 3: 10)" in lake.push(rows, values(-1, -2)).warnings[0]
    assert lake.push(rows, [{"v": 900 + i} for i in range(12)]).warnings == ()


def test_volume_is_quiet_on_chance_and_finds_a_halving() -> None:
    rng = np.random.default_rng(0)
    check = volume(deviations=5)
    alarms = found = 0
    for _ in range(400):
        history = rng.poisson(1_000, 20).tolist()
        alarms += unusual_volume(check, int(rng.poisson(1_000)), history) is not None
        found += unusual_volume(check, int(rng.poisson(500)), history) is not None
    assert alarms <= 2
    assert found == 400
    assert unusual_volume(check, 0, [5, 5]) is None  # too little history


def test_a_distribution_is_compared_with_a_snapshot_or_a_profile(lake: Lake, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def rows(shift: float, letters: str) -> list[dict[str, object]]:
        picked = rng.choice(list(letters), 400).tolist()
        return [{"v": float(v), "c": c} for v, c in zip(rng.normal(shift, 1, 400), picked, strict=True)]

    declared = dataset(
        column("v", "float"), column("c", "category"), distribution("v", like="previous", at_most=0.1),
        distribution("c", like="previous", at_most=0.1), distribution("v", like="previous", measure="ks", at_most=0.2),
    )  # fmt: skip
    assert lake.push(declared, rows(0, "aab")).warnings == ()  # there is nothing before the first
    assert lake.push(declared, rows(0, "aab")).warnings == ()
    warned = lake.push(declared, rows(1, "abb")).warnings
    assert [text.split(" failed")[0] for text in warned] == [
        "distribution(v, psi)",
        "distribution(c, psi)",
        "distribution(v, ks)",
    ]

    with connect() as con:
        lake.attach(con, "first", lake.snapshot("rows", version=1))
        (tmp_path / "first.json").write_text(json.dumps(measure(con, "first", "rows@1").to_json()))
    for like in ("first.json", 1, "rows@1"):
        by = dataset(column("v", "float"), distribution("v", like=like, measure="js", at_most=0.25))
        assert lake.check(by, rows(0, "a")).has_passed
        assert not lake.check(by, rows(2, "a")).result("distribution(v, js)").has_passed
    with pytest.raises(UnknownNameError):
        lake.check(dataset(distribution("v", like=99)), rows(0, "a"))
    with pytest.raises(ContractError, match="cannot be read"):
        lake.check(dataset(distribution("v", like="none.json")), rows(0, "a"))


def test_a_file_or_the_newest_snapshot_is_checked_and_nothing_is_stored(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_text("v,w\n1,x\n20,y\n1,z\n")
    rows = Dataset(
        "rows",
        files("in/*.csv"),
        contract=[column("v", "int", at_most=10), unique("v"), statistic("v", "max", at_most=5)],
    )
    report = lake.check(rows, "in/a.csv")
    assert {one.check: report.rows_failing(one.check) for one in report.failed} == {"at_most(v)": [1], "unique(v)": [2]}
    assert lake.names() == []
    with pytest.raises(UnknownNameError):
        lake.check(rows)
    ingested = lake.ingest(rows)
    assert ingested.rows_accepted == report.rows_accepted == 1
    assert lake.check(rows).has_passed
    wider = Dataset("rows", files("in/*.csv"), contract=[column("v", "int", at_most=0)])
    assert lake.check(wider).rows_failing("at_most(v)") == [0]


def test_a_whole_check_names_the_unknown_column(lake: Lake) -> None:
    with pytest.raises(ContractError, match="unknown column 'vv'"):
        lake.push(dataset(statistic("vv", "mean", at_least=0)), values(1))
    with pytest.raises(ContractError, match="needs numbers"):
        lake.push(dataset(statistic("v", "mean", at_least=0)), [{"v": "text"}])
