"""What the contract calls sensitive is not in any file of the store, nor in the quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopwright.core.errors import ContractError
from loopwright.core.pseudonyms import Pseudonyms
from loopwright.core.storage.stores import Stores
from loopwright.data.contract.check import unique
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.files import files
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from pathlib import Path

CONTRACT = [
    column("customer", "string", sensitive="hash"),
    column("email", "string", matches=r"[^@]+@[^@]+", sensitive="mask"),
    column("phone", "string", required=False, sensitive="drop"),
    column("income", "float", at_least=0, sensitive=True),
    column("spent", "float", at_least=0),
]
SECRETS = ("customer-4711", "ada@example.org", "+47 555 01 23", "broken-address", "+47 555 99 99", "customer-0815")


def _rows() -> list[dict[str, object]]:
    ada = {"customer": "customer-4711", "email": "ada@example.org", "phone": "+47 555 01 23", "income": 9.0}
    bob = {"customer": "customer-0815", "email": "broken-address", "phone": "+47 555 99 99", "income": 1.0}
    return [ada | {"spent": 1.0}, ada | {"spent": 2.0, "phone": None}, bob | {"spent": -3.0}]


def _people() -> Dataset:
    return Dataset("people", push(), contract=CONTRACT)


def test_values_are_hashed_masked_and_dropped_after_they_were_checked(stores: Stores) -> None:
    lake = Lake(stores)
    report = lake.push(_people(), _rows())
    assert report.rows_accepted == 2
    assert report.reasons == {"at_least(spent)": 1, "matches(email)": 1}
    rows = lake.read(lake.snapshot("people")).to_pylist()
    name = Pseudonyms(stores.facts).of("customer-4711")
    assert [row["customer"] for row in rows] == [name, name]
    assert [row["email"] for row in rows] == ["a***", "a***"]
    assert "phone" not in rows[0]
    assert [row["income"] for row in rows] == [9.0, 9.0]


def test_the_quarantine_tells_no_more_than_the_dataset(stores: Stores) -> None:
    lake = Lake(stores)
    lake.push(_people(), _rows())
    (entry,) = lake.quarantine("people").entries()
    assert isinstance(entry.raw, dict)
    assert entry.raw["customer"] == Pseudonyms(stores.facts).of("customer-0815")
    assert entry.raw["email"] == "b***"
    assert "phone" not in entry.raw
    assert {reason.column: reason.value for reason in entry.reasons} == {"email": "b***", "spent": "-3.0"}


def test_nothing_sensitive_lies_in_any_file_of_the_workspace(stores: Stores) -> None:
    lake = Lake(stores)
    lake.push(_people(), _rows())
    lake.push(_people(), [{"email": "x", "customer": "customer-4711", "income": 1.0, "spent": 1.0}])
    found = [
        (path.name, secret)
        for path in stores.settings.project.rglob("*")
        if path.is_file()
        for secret in SECRETS
        if secret.encode() in path.read_bytes()
    ]
    assert found == []


def test_a_line_that_cannot_be_taken_apart_is_not_kept(stores: Stores) -> None:
    project: Path = stores.settings.project
    (project / "people.csv").write_text("customer,email\nada,a@b\nbob,b@c,customer-4711\n")
    contract = [column("customer", "string", sensitive="hash"), column("email", "string")]
    lake = Lake(stores)
    lake.ingest(Dataset("people", files("people.csv"), contract=contract))
    (entry,) = lake.quarantine("people").entries()
    assert entry.raw == "not kept: the dataset has sensitive columns"


def test_equal_values_stay_equal_over_ingests_and_as_a_key(stores: Stores) -> None:
    lake = Lake(stores)
    dataset = Dataset("cards", push(), key="card", contract=[column("card", "string", sensitive="hash")])
    assert lake.push(dataset, [{"card": "c1", "n": 1}]).rows_accepted == 1
    assert lake.push(dataset, [{"card": "c1", "n": 1}]).rows_duplicate == 1
    found = lake.row("cards", "card", Pseudonyms(stores.facts).of("c1"))
    assert found is not None


def test_a_row_that_its_key_keeps_out_has_the_pseudonym_that_is_stored(stores: Stores) -> None:
    lake = Lake(stores)
    dataset = Dataset("cards", push(), key="card", contract=[column("card", "string", sensitive="hash")])
    lake.push(dataset, [{"card": "c1", "n": 1}])
    assert lake.push(dataset, [{"card": "c1", "n": 2}]).rows_quarantined == 1
    (entry,) = lake.quarantine("cards").entries()
    assert entry.raw == {"card": Pseudonyms(stores.facts).of("c1"), "n": 2}
    assert "taken by" in str(entry.reasons[0].value)


@pytest.mark.parametrize("word", ["mask", "drop"])
def test_what_tells_rows_apart_cannot_be_lost(word: str) -> None:
    item = column("card", "string", sensitive=word)
    with pytest.raises(ContractError, match="tells rows apart"):
        Dataset("cards", push(), key="card", contract=[item])
    with pytest.raises(ContractError, match="tells rows apart"):
        Dataset("cards", push(), contract=[item, unique("card")])


def test_a_number_cannot_become_a_pseudonym() -> None:
    with pytest.raises(ContractError, match="makes a text of it"):
        column("age", "int", sensitive="hash")
    with pytest.raises(ContractError, match="stored apart"):
        column("face", "image", sensitive="drop")
