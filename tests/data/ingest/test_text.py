from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.core.errors import ContractError
from loopwright.core.storage.payloads import INDEX
from loopwright.data.contract.check import expect, unique
from loopwright.data.contract.column import Column, column
from loopwright.data.dataset import Dataset
from loopwright.data.ingest import text
from loopwright.data.ingest.text import read_texts, text_ref
from loopwright.data.lake import Lake
from loopwright.data.sources.files import files
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def notes(*rules: object, **options: object) -> Dataset:
    return Dataset("notes", push(), contract=[column("body", "text"), *rules], **options)  # type: ignore[arg-type, list-item]


def test_texts_are_stored_once_and_rows_refer_to_them(lake: Lake, stores: Stores) -> None:
    bodies = ["Hallo", "Grüße\n", "", "Hallo", text_ref("Hallo")]
    report = lake.push(notes(), [{"body": body} for body in bodies])
    assert report.rows_accepted == 5
    stored = lake.read(lake.snapshot("notes"))["body"]
    assert stored.to_pylist() == [text_ref(body) for body in bodies]
    assert stores.payloads.get(stored[1].as_py()) == "Grüße\n".encode()
    assert read_texts(stores.payloads, stored).to_pylist() == bodies
    assert stores.tables.count(INDEX) == 4
    lake.push(notes(), [{"body": "Hallo"}])
    assert stores.tables.count(INDEX) == 4


def test_the_contract_judges_the_text_itself(lake: Lake, stores: Stores) -> None:
    dataset = Dataset(
        "notes",
        push(),
        contract=[
            column("body", "text", matches="[a-z ]+"),
            column("language", "text", among=["en", "no"], required=False),
            expect("length(body) <= 9", name="short"),
        ],
    )
    rows: list[dict[str, object]] = [
        {"body": "good", "language": "no"},
        {"body": "BAD", "language": None},
        {"body": None, "language": "en"},
        {"body": "much too long", "language": "en"},
        {"body": "good", "language": "fr"},
        {"body": "fine", "language": None},
    ]
    report = lake.push(dataset, rows)
    assert report.rows_accepted == 2
    assert report.reasons == {"among(language)": 1, "expect(short)": 1, "matches(body)": 1, "required(body)": 1}
    kept_out = {row.source_row: row for row in lake.quarantine("notes").entries()}
    assert kept_out[3].raw == {"body": "much too long", "language": "en"}
    assert kept_out[1].reasons[0].value == "BAD"
    assert sorted(stores.tables.read(INDEX)["length"].to_pylist()) == [2, 4, 4]  # no, good, fine
    assert stores.payloads.missing([text_ref("BAD"), text_ref("good")]) == [text_ref("BAD")]


def test_bounds_are_refused_for_a_text() -> None:
    with pytest.raises(ContractError, match="a range needs a number"):
        column("body", "text", at_most=3)


def test_keys_and_uniqueness_go_by_content(lake: Lake) -> None:
    dataset = notes(column("id", "int"), unique("body"), key="id")
    first = [{"id": 1, "body": "one"}, {"id": 2, "body": "two"}]
    lake.push(dataset, first)
    report = lake.push(dataset, [*first, {"id": 2, "body": "other"}, {"id": 3, "body": "one"}, {"id": 4, "body": "x"}])
    assert (report.rows_duplicate, report.rows_quarantined, report.rows_accepted) == (2, 2, 1)
    raw = [row.raw for row in lake.quarantine("notes").entries()]
    assert sorted(raw, key=lambda row: row["id"]) == [{"body": "other", "id": 2}, {"body": "one", "id": 3}]  # type: ignore[index]


def test_a_changed_text_is_a_changed_row(lake: Lake) -> None:
    dataset = notes(column("id", "int"), key="id", on_duplicate="upsert")
    lake.push(dataset, [{"id": 1, "body": "one"}, {"id": 2, "body": "two"}])
    lake.push(dataset, [{"id": 2, "body": "new"}])
    newer, older = lake.history("notes")
    diff = lake.diff(older, newer)
    assert (diff.rows_added, diff.rows_removed, diff.rows_changed) == (0, 0, 1)


def test_a_row_is_shown_and_found_by_its_text(lake: Lake) -> None:
    dataset = notes(column("id", "int"), column("title", "text", required=False))
    lake.push(dataset, [{"id": 1, "body": "one", "title": None}, {"id": 2, "body": "two", "title": "Deux"}])
    for found in (lake.row("notes", "id", 2), lake.row("notes", "body", "two")):
        assert found is not None
        assert found.row == {"body": "two", "id": 2, "title": "Deux"}
    assert lake.row("notes", "body", text_ref("two")) is None


def test_many_batches_share_shards(lake: Lake, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_HELD_BYTES", 60_000)
    bodies = [f"number {index % 7000}" for index in range(10_000)]
    (tmp_path / "in").mkdir()
    table = pa.table({"n": range(10_000), "body": bodies})
    for part in range(10):
        pq.write_table(table.slice(part * 1000, 1000), tmp_path / f"in/{part}.parquet")
    dataset = Dataset("notes", files("in/*.parquet"), contract=[column("body", "text")])
    assert lake.ingest(dataset).rows_accepted == 10_000
    stored = lake.read(lake.snapshot("notes")).sort_by("n")
    assert read_texts(stores.payloads, stored["body"]).to_pylist() == bodies
    index = stores.tables.read(INDEX)
    assert index.num_rows == 7000
    assert 1 < len(set(index["shard"].to_pylist())) < 5


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=20), min_size=1, max_size=20))
def test_any_text_comes_back_as_it_was(lake: Lake, stores: Stores, bodies: list[str | None]) -> None:
    dataset = Dataset(f"d{stores.ids.new()}", push(), contract=[column("body", "text", required=False)])
    lake.push(dataset, pa.table({"body": pa.array(bodies, pa.string())}))
    stored = lake.read(lake.snapshot(dataset.name)).sort_by("_source_row")["body"]
    assert read_texts(stores.payloads, stored).to_pylist() == bodies


@pytest.mark.parametrize("now", [[column("body", "string")], []])
def test_a_stored_text_stays_a_text(lake: Lake, now: list[Column]) -> None:
    lake.push(notes(), [{"body": "x"}])
    with pytest.raises(ContractError, match="column 'body' is stored as text"):
        lake.push(Dataset("notes", push(), contract=now), [{"body": "y"}])
    lake.push(Dataset("words", push(), contract=now), [{"body": "x"}])
    with pytest.raises(ContractError, match=r"column 'body' is stored as (string|VARCHAR)"):
        lake.push(Dataset("words", push(), contract=[column("body", "text")]), [{"body": "y"}])
