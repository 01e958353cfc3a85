from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from loopwright.core.errors import ContractError, DeclarationError
from loopwright.data.check import expect, fresh, row_count, unique
from loopwright.data.column import column
from loopwright.data.contract import Contract
from loopwright.data.dataset import ColumnRef, Columns, Dataset
from loopwright.data.sources.files import files
from loopwright.data.sources.frame import frame
from loopwright.data.sources.listing import list_source, state_digest
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: column("a", "flaot"), "Did you mean 'float'"),
        (lambda: column("", "int"), "needs a name"),
        (lambda: column("_source", "int"), "system column"),
        (lambda: column("a", "float", between=(2, 1)), "the first is larger"),
        (lambda: column("a", "float", between=(1,)), "smallest and largest|takes"),
        (lambda: column("a", "float", between=(1, 2), at_most=3), "Keep one"),
        (lambda: column("a", "float", at_least="1"), "no bound"),
        (lambda: column("a", "float", at_least=float("nan")), "no bound"),
        (lambda: column("a", "timestamp", at_least=3), "no bound"),
        (lambda: column("a", "timestamp", at_least="soon"), "no time"),
        (lambda: column("a", "timestamp", between=("2026-02-01", datetime(2026, 1, 1, tzinfo=UTC))), "larger"),
        (lambda: column("a", "string", at_least=1), "a range needs"),
        (lambda: column("a", "category", among=[]), "is empty"),
        (lambda: column("a", "category", among="Oslo"), "takes a list"),
        (lambda: column("a", "category", among=[1]), "in among= is not"),
        (lambda: column("a", "int", among=["1"]), "in among= is not"),
        (lambda: column("a", "string", matches="("), "no regular expression"),
        (lambda: column("a", "int", matches="1"), "is for string"),
        (lambda: column("a", "int", on_failure="panic"), "quarantine or stop or warn"),
        (lambda: column("a", "int", sensitive="blur"), "sensitive="),
        (unique, "takes names"),
        (lambda: unique("a", "a"), "twice"),
        (lambda: fresh("soon"), "not a duration"),
        (lambda: fresh("2h", on_failure="quarantine"), "whole ingest"),
        (row_count, "needs at_least"),
        (lambda: row_count(at_least=2, at_most=1), "never hold"),
        (lambda: expect(" "), "needs an SQL expression"),
        (lambda: expect("1; DROP TABLE x"), "Write one expression"),
        (lambda: Contract.of([column("a", "int"), column("a", "float")]), "more than once"),
        (lambda: Contract.of([unique("a"), unique("a")]), "more than once"),
        (lambda: Contract.of(["a"]), "holds columns and checks"),
        (lambda: Contract.of([column("order_id", "int"), unique("oder_id")], strict=True), "Did you mean 'order_id'"),
        (lambda: Dataset("two words", push()), "no name for a dataset"),
        (lambda: Dataset("a", "a.csv"), "needs a source"),
        (lambda: Dataset("a", push(), key=("x", "x")), "each once"),
        (lambda: Dataset("a", push(), key="x", on_duplicate="replace"), "no policy"),
        (lambda: Dataset("a", push(), on_duplicate="upsert"), "no key"),
        (lambda: Dataset("a", push(), contract=[fresh("2h")]), "no event time"),
        (lambda: Dataset("a", push(), event_time="t", contract=[column("t", "int")]), "is a time"),
        (lambda: Dataset("a", push(), key="_source"), "system column"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_declared(make: object, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        make()  # type: ignore[operator]


def test_columns_are_named_by_attribute_and_by_index() -> None:
    orders = Dataset("orders", push(), contract=[column("city", "category"), column("name", "string")])
    assert orders.minutes == ColumnRef(orders, "minutes")
    assert orders["name"].declared is not None
    assert orders["city", "minutes"] == Columns((orders.city, orders.minutes))
    assert orders["city", "minutes"].names == ("city", "minutes")
    assert not hasattr(orders, "_repr_html_")
    again = pickle.loads(pickle.dumps(orders))  # noqa: S301 - our own bytes
    assert (again, hash(again), again.digest) == (orders, hash(orders), orders.digest)
    assert Dataset("orders", push()) != orders
    strict = Dataset("s", push(), contract=Contract.of([column("city", "string")], strict=True))
    with pytest.raises(ContractError, match="Did you mean 'city'"):
        _ = strict.ctiy


def test_a_contract_is_known_by_its_content() -> None:
    one = Contract.of([column("a", "int", between=(0, 1)), unique("a"), expect("a > 0")])
    two = Contract.of([expect("a > 0"), column("a", "int", at_least=0, at_most=1), unique("a")])
    assert one.digest == two.digest
    assert one.digest != Contract.of([column("a", "int", between=(0, 2)), unique("a"), expect("a > 0")]).digest


def test_images_have_a_key_by_themselves() -> None:
    images = Dataset("i", files("a/*.png", labels="l.csv"))
    assert (images.key, images.on_duplicate) == (("file",), "upsert")
    assert Dataset("a", push()).key == ()


def test_a_source_can_be_listed_without_the_project(tmp_path: Path) -> None:
    (tmp_path / "d/.hidden").mkdir(parents=True)
    for name in ("d/b.csv", "d/a.csv", "d/c.md", "d/.hidden/x.csv", "d/1.png", "l.csv"):
        (tmp_path / name).write_text("x")
    described = files("d").describe()
    listed = list_source(described, tmp_path)
    assert listed is not None
    assert [one.name for one in listed] == ["d/a.csv", "d/b.csv"]
    before = state_digest(described, tmp_path)
    assert state_digest(described, tmp_path) == before
    (tmp_path / "d/a.csv").write_text("more")
    assert state_digest(described, tmp_path) != before
    images = list_source(files("d", format="images", labels="l.csv").describe(), tmp_path)
    assert images is not None
    assert [one.name for one in images] == ["d/1.png", "l.csv"]
    assert list_source(push().describe(), tmp_path) is None
    assert state_digest(frame([]).describe(), tmp_path) is None


def test_declarations_load_no_engine() -> None:
    code = (
        "import sys, loopwright.data, loopwright.data.sources.listing;"
        "print([m for m in ('pandas', 'pyarrow', 'duckdb', 'numpy', 'deltalake', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
