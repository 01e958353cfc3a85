"""Restricted values leave only for those who may see them, and on record."""

from __future__ import annotations

import pytest

from loopwright.core.access import Access, Principal
from loopwright.core.storage.stores import Stores
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.disclosure import HIDDEN, Disclosure
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push

ROWS = [{"name": "ada", "income": 9.0}, {"name": "bob", "income": 1.0}]


@pytest.fixture
def access(stores: Stores) -> Access:
    return Access(stores.facts, stores.clock, stores.ids)


def test_a_viewer_sees_no_restricted_value(access: Access) -> None:
    seen = Disclosure(access, Principal("dash", "viewer")).rows("people", ROWS, ["income"], purpose="rows")
    assert seen == [{"name": "ada", "income": HIDDEN}, {"name": "bob", "income": HIDDEN}]
    assert access.reads() == []


def test_an_operator_sees_them_and_the_reading_is_on_record(access: Access) -> None:
    disclosure = Disclosure(access, Principal("ada", "operator"))
    assert disclosure.rows("people", ROWS, ["income"], purpose="rows of people@1") == ROWS
    (read,) = access.reads()
    assert (read.reader, read.columns, read.rows, read.purpose) == ("ada", ("income",), 2, "rows of people@1")


def test_rows_without_restricted_values_leave_no_record(access: Access) -> None:
    disclosure = Disclosure(access, Principal("ada", "operator"))
    disclosure.rows("people", [{"name": "ada"}], ["income"], purpose="rows")
    assert access.reads() == []


def test_the_quarantine_hides_them_too(stores: Stores, access: Access) -> None:
    contract = [column("name", "string"), column("income", "float", at_least=0, sensitive="restrict")]
    lake = Lake(stores)
    lake.push(Dataset("people", push(), contract=contract), [{"name": "ada", "income": -5.0}])
    entries = lake.quarantine("people").entries()
    (hidden,) = Disclosure(access, Principal("dash", "viewer")).quarantined(
        "people", entries, ["income"], purpose="quarantine"
    )
    assert hidden.raw == {"name": "ada", "income": HIDDEN}
    assert [reason.value for reason in hidden.reasons] == [HIDDEN]
    assert access.reads() == []
    (shown,) = Disclosure(access, Principal("ada", "operator")).quarantined(
        "people", entries, ["income"], purpose="quarantine"
    )
    assert isinstance(shown.raw, dict)
    assert shown.raw["income"] == -5.0
    assert access.reads()[0].rows == 1
