from __future__ import annotations

import datetime as dt
import sys
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import loopwright as lw
from loopwright.core.errors import SourceError, UsageError
from loopwright.core.storage.duck import connect
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.quality.infer import Inferred, infer
from loopwright.data.quality.judge import Judge
from loopwright.data.quality.opened import open_file
from loopwright.data.sources.files import files
from loopwright.data.sources.unit import numbered

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores


def inferred(table: pa.Table, **options: object) -> Inferred:
    with connect(threads=1) as con:
        con.register("given", table)
        return infer(con, "given", **options)  # type: ignore[arg-type]


def refused(table: pa.Table, found: Inferred, *, is_text: bool = False) -> dict[str, int]:
    with connect(threads=1) as con:
        batch = numbered(table, 0).append_column("_source", pa.array(["s"] * table.num_rows, pa.string()))
        return Judge(con, found.contract).judge(batch, is_text=is_text).failures


VALUES = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=40),
    st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=40),
    st.lists(st.one_of(st.none(), st.booleans()), min_size=1, max_size=40),
    st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=1, max_size=40),
    st.lists(st.sampled_from(["Oslo", "Bergen", "", None]), min_size=1, max_size=80),
    st.lists(st.from_regex(r"[A-Z]{2}-\d{3}", fullmatch=True), min_size=30, max_size=40),
    st.lists(st.one_of(st.none(), st.datetimes(timezones=st.just(dt.UTC))), min_size=1, max_size=40),
    st.lists(st.one_of(st.none(), st.dates(dt.date(1900, 1, 1), dt.date(2200, 1, 1))), min_size=1, max_size=40),
)


@settings(max_examples=40)
@example(values=[0.0, sys.float_info.max])
@example(values=[sys.float_info.max])
@example(values=[-sys.float_info.max, sys.float_info.max])
@given(values=VALUES)
def test_a_contract_accepts_what_it_was_inferred_from(values: list[object]) -> None:
    table = pa.table({"x": pa.array(values)})
    assert refused(table, inferred(table)) == {}


WORDS = ["", "1", "2.5", "-3", "yes", "true", "false", "NA", "2026-01-01", "Oslo", " 7 ", "1e3", "0x1", "007", "nan"]


@settings(max_examples=12)
@given(values=st.lists(st.sampled_from(WORDS), min_size=1, max_size=30), narrow=st.integers(0, len(WORDS)))
def test_a_contract_of_a_text_file_accepts_the_file(
    values: list[str], narrow: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    path = folder / "a.csv"
    lines = [value if index % 2 or narrow > 5 else values[0] for index, value in enumerate(values)]
    path.write_text("n,x\n" + "".join(f"{number},{value}\n" for number, value in enumerate(lines)))
    with connect(threads=1) as con:
        open_file(con, "rows", path, folder)
        found = infer(con, "rows")
    table = pacsv.read_csv(
        path,
        convert_options=pacsv.ConvertOptions(
            column_types={"n": pa.string(), "x": pa.string()}, null_values=[""], strings_can_be_null=True
        ),
    )
    assert refused(table, found, is_text=True) == {}


@pytest.mark.parametrize("file", ["bike_sharing_hour", "elec2", "telco_churn", "sms_spam"])
def test_a_sample_of_real_data_speaks_for_the_rest(file: str, shared_data: Path) -> None:
    table = pq.read_table(shared_data / f"{file}.parquet")
    found = inferred(table, rows=2000)
    assert found.rows == 2000
    assert refused(table, inferred(table)) == {}
    with connect(threads=1) as con:
        batch = numbered(table, 0).append_column("_source", pa.array(["s"] * table.num_rows, pa.string()))
        judged = Judge(con, found.contract).judge(batch, is_text=False)
    assert judged.bad.num_rows <= 0.01 * table.num_rows, judged.failures


def test_telco_is_ingested_whole_by_its_own_contract(stores: Stores, shared_data: Path) -> None:
    path = str(shared_data / "telco_churn.parquet")
    with connect() as con:
        found = infer(con, f"'{path}'")
    assert found.key == ("customerID",)
    assert (column := found.contract.column("customerID")) is not None
    assert column.matches == r"\d{4}-[A-Z]{5}"
    assert "numbers" in found.notes["TotalCharges"]
    report = Lake(stores).ingest(Dataset("churn", files(path), key=found.key, contract=found.contract))
    assert (report.rows_accepted, report.rows_quarantined) == (7043, 0)


def test_what_is_written_is_python_and_the_same_contract() -> None:
    rng = np.random.default_rng(0)
    days = [dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=n) for n in range(400)]
    table = pa.table(
        {
            "order_id": [f"A-{n:05d}" for n in range(400)],
            "placed_at": days,
            "e_mail": [f"a{n}@example.org" for n in range(400)],
            "phone": [f"+47 900 {n:05d}" for n in range(400)],
            "city": rng.choice(["Oslo", "Bergen"], 400),
            "km": rng.uniform(0, 30, 400),
            "stars": rng.integers(1, 6, 400),
            "odd": [[1]] * 400,
        }
    )
    found = inferred(table)
    text = found.to_source("my orders", "lw.push()")
    loop = lw.Loop("t")
    space = {"lw": lw, "loop": loop}
    exec(text, space)  # noqa: S102 - what is written is to be run
    made = space["my_orders"]
    assert made.contract == found.contract  # type: ignore[attr-defined]
    assert (made.key, made.event_time) == (("order_id",), "placed_at")  # type: ignore[attr-defined]
    assert "e-mail addresses?" in text
    assert "telephone numbers?" in text
    assert "without a rule" in text
    assert "between=(0.0" in text
    assert "among=[1, 2, 3, 4, 5]" in text


def test_a_compound_key_is_found(shared_data: Path) -> None:
    table = pq.read_table(shared_data / "beijing_air_quality.parquet")
    found = inferred(table, rows=5000)
    assert sum(refused(table.slice(0, 40_000), found).values()) <= 400
    assert (found.key, found.event_times) == (("station_id", "ts"), ("ts",))


def test_wrong_input(tmp_path: Path) -> None:
    with connect() as con:
        with pytest.raises(SourceError, match="There is no file"):
            open_file(con, "rows", tmp_path / "a.csv", tmp_path)
        (tmp_path / "a.csv").write_text("")
        with pytest.raises(SourceError, match="holds no rows"):
            open_file(con, "rows", tmp_path / "a.csv", tmp_path)
        for name, text in (("b.parquet", "no parquet"), ("c.csv", "a,a\n1,2\n"), ("d.arrow", "x")):
            (tmp_path / name).write_text(text)
            with pytest.raises(SourceError, match="cannot be read"):
                open_file(con, "rows", tmp_path / name, tmp_path)
        (tmp_path / "e.csv").write_text("a,b\n1,2\n3\n4,5\n")
        assert open_file(con, "rows", tmp_path / "e.csv", tmp_path) == 1
        assert con.execute("SELECT sum(a), sum(b) FROM rows").fetchone() == (5, 7)
        con.execute("CREATE VIEW nothing AS SELECT 1 AS _source")
        with pytest.raises(UsageError):
            infer(con, "nothing")
