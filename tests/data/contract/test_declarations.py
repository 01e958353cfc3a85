from __future__ import annotations

import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

import loopwright
from loopwright.core.errors import ContractError, DeclarationError
from loopwright.data.contract.check import expect, fresh, row_count, unique
from loopwright.data.contract.column import column
from loopwright.data.contract.contract import Contract
from loopwright.data.contract.expected import distribution, volume
from loopwright.data.contract.expression import all_different, all_equal, among_together, compare, sums_to
from loopwright.data.contract.header import column_count, column_names
from loopwright.data.contract.series import decreasing, increasing, outliers, references
from loopwright.data.contract.statistic import distinct_values, most_common, statistic
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
        (lambda: column("a", "float", above=1, at_least=0), "at_least= and above="),
        (lambda: column("a", "float", above=1, below=1), "no value can"),
        (lambda: column("a", "float", above=2, below=1), "the first is larger"),
        (lambda: column("a", "float", between=(0, 1), below=3), "Keep one"),
        (lambda: column("a", "string", above="x"), "a range needs"),
        (lambda: column("a", "int", multiple_of=0.5), "not whole"),
        (lambda: column("a", "string", multiple_of=2), "is for int and float"),
        (lambda: column("a", "int", multiple_of=0), "above 0"),
        (lambda: column("a", "string", length=(3, 1)), "never hold"),
        (lambda: column("a", "string", length="3"), "in characters"),
        (lambda: column("a", "string", length=(None, None)), "in characters"),
        (lambda: column("a", "int", length=3), "is for string"),
        (lambda: column("a", "int", json=True), "is for string"),
        (lambda: column("a", "string", format="year"), "no code"),
        (lambda: column("a", "string", format="%Q"), "has %Q"),
        (lambda: column("a", "string", starts_with=""), "not empty"),
        (lambda: column("a", "string", not_matches="("), "no regular expression"),
        (lambda: column("a", "string", matches="(?=x)y"), "RE2 lacks"),
        (lambda: column("a", "int", not_among=[]), "is empty"),
        (lambda: column("a", "date", among=["soon"]), "no time"),
        (lambda: column("a", "int", mostly=0), "share of rows"),
        (lambda: column("a", "int", mostly=95), "Write 0.95"),
        (lambda: column("a", "text", mostly=0.9), "reference"),
        (lambda: column("a", "string", sensitive=True, mostly=0.9), "is sensitive"),
        (lambda: compare("a", "<>", "b"), "no comparison"),
        (lambda: compare("a", "<", "a"), "twice"),
        (lambda: sums_to(["a"], 1), "at least 2 columns"),
        (lambda: sums_to(["a", "b"], None), "takes a number"),
        (lambda: among_together(["a", "b"], [(1,)]), "2 values each"),
        (lambda: references("a", "couriers"), "dataset.column"),
        (lambda: references(["a", "b"], "couriers.id"), "2 columns here and 1 there"),
        (lambda: outliers("a", deviations=0), "above 0"),
        (lambda: outliers("a", method="lof"), "zscore"),
        (lambda: increasing("a", per="a"), "twice"),
        (lambda: statistic("a", "mode", at_least=1), "statistic 'mode'"),
        (lambda: statistic("a", "mean"), "needs bounds"),
        (lambda: statistic("a", "mean", at_least=1, on_failure="quarantine"), "whole ingest"),
        (lambda: statistic("a", "quantile", at_least=1), "q= is for quantile"),
        (lambda: statistic("a", "mean", at_least=1, q=0.5), "q= is for quantile"),
        (lambda: statistic("a", "null_share", at_least=2), "between 0 and 1"),
        (lambda: statistic("a", "stdev", at_most=-1), "never below 0"),
        (lambda: statistic("a", "mean", between=(2, 1)), "the first is larger"),
        (lambda: statistic("a", "max", at_most="soon"), "no time"),
        (lambda: distinct_values("a"), "one of among="),
        (lambda: distinct_values("a", among="abc"), "list of values"),
        (lambda: most_common("a", among=[]), "list of values"),
        (lambda: volume(deviations=1, factor=2), "Keep one"),
        (lambda: volume(factor=1), "above 1"),
        (lambda: volume(last=3, least_history=4), "at most last"),
        (lambda: distribution("a", like=""), "no reference"),
        (lambda: distribution("a", like=3, measure="kl"), "psi, js, ks"),
        (lambda: distribution("a", like=3, measure="js", at_most=2), "at most 1"),
        (lambda: column_names("a", "a"), "twice"),
        (lambda: column_count(at_most=0), "never hold"),
        (lambda: row_count(at_least=1, same_as="b"), "two checks"),
        (lambda: row_count(at_least=1.5), "whole numbers"),
        (lambda: Contract.of([column("a", "string"), statistic("a", "mean", at_least=1)]), "needs numbers"),
        (lambda: Contract.of([column("a", "category"), outliers("a")]), "needs numbers"),
        (lambda: Contract.of([column("a", "text"), most_common("a", among=["x"])]), "reference"),
        (lambda: Contract.of([column("a", "text"), expect("a <> ''", mostly=0.9)]), "reference"),
        (lambda: Contract.of([column("a", "string", sensitive=True), references("a", "b.c")]), "sensitive column"),
        (lambda: Contract.of([column("a", "bool"), distribution("a", like=1, measure="ks")]), "needs an order"),
        (lambda: Contract.of([column("km", "float"), increasing("kmm")], strict=True), "Did you mean 'km'"),
        (lambda: Contract.from_description({"columns": [{"name": "a"}]}), "describes no column"),
        (lambda: Contract.from_description({"columns": [{"name": "a", "type": "int", "best": 1}]}), "has no best"),
        (lambda: Contract.from_description({"checks": [{"check": "lucky"}]}), "is no check"),
        (lambda: Contract.from_description([1]), "describes no contract"),
        (lambda: Contract.load("nowhere.json"), "cannot be read"),
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


def test_a_contract_goes_to_json_and_to_python_and_back() -> None:
    couriers = Dataset("couriers", push())
    one = Contract.of(
        [
            column("a", "float", above=0, below=9.5, multiple_of=0.5, mostly=0.9),
            column("b", "string", length=(1, None), format="%Y", starts_with="x", not_among=["q"], not_matches="z"),
            column("t", "timestamp", at_least=datetime(2026, 1, 1, tzinfo=UTC), required=False),
            column("d", "date", between=("2026-01-01", "2026-02-01"), on_failure="warn"),
            column("n", "int", among=[1, 2], coerce=False),
            column("s", "string", sensitive="mask", json=True, ends_with="}", contains="a"),
            unique("a", "b"), fresh("2h"), row_count(at_least=1, on_failure="stop"), row_count(same_as=couriers),
            expect("a > 0", mostly=0.5), expect("a < 9", name="small"), compare("a", "<", "n"),
            sums_to(["a", "n"], "a"), among_together(["a", "b"], [(1, "x"), (2, "y'")]), all_different("a", "b"),
            all_equal("a", "b"), increasing("t", per="b", strictly=True), decreasing("a", mostly=0.9),
            outliers("a", method="iqr"), references("a", couriers.id), references(["a", "b"], couriers["id", "z"]),
            statistic("a", "mean", between=(0, 1)), statistic("a", "quantile", q=0.5, at_most=1),
            statistic("t", "max", at_least="2026-01-01"), distinct_values("b", equal=["x"]),
            most_common("b", among=["x"]), volume(), distribution("a", like="previous"),
            column_names("a", "b", others=True), column_count(at_least=2),
        ],
        strict=True,
    )  # fmt: skip
    assert Contract.from_description(json.loads(json.dumps(one.describe()))).digest == one.digest
    assert eval(one.to_source(), {"lw": loopwright}).digest == one.digest  # noqa: S307 - our own text


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
