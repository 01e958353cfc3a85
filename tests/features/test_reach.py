from __future__ import annotations

import ibis
import pytest

from loopwright.core.errors import FeatureError
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.sources.push import push
from loopwright.features.compiled_view import compile_view
from loopwright.features.reach import TableFacts, reach_of
from loopwright.features.view import feature_view

orders = ibis.table({"id": "int64", "who": "string", "at": "timestamp('UTC')", "x": "float64"}, name="orders")
shops = ibis.table({"shop": "int64", "who": "string", "since": "timestamp('UTC')", "y": "float64"}, name="shops")
FACTS = {"orders": TableFacts((frozenset({"id"}),)), "shops": TableFacts((frozenset({"shop"}),))}
HOURS = orders.mutate(hour=orders["at"].truncate("h"))


def by_who(**bounds):
    return ibis.window(group_by="who", order_by="at", **bounds)


def selected(value):
    return orders.select("who", "at", f=value)


LOCAL = {
    "trailing rows": selected(orders.x.mean().over(by_who(preceding=20, following=-1))),
    "trailing hours": selected(orders.x.sum().over(by_who(preceding=ibis.interval(hours=2), following=0))),
    "cumulative": selected(orders.x.max().over(ibis.cumulative_window(group_by="who", order_by="at"))),
    "lag": selected(orders.x.lag().over(by_who())),
    "hourly": HOURS.group_by("who", "hour").agg(n=HOURS.count()),
    "within its hour": HOURS.mutate(m=HOURS.x.mean().over(ibis.window(group_by=["who", "hour"]))),
    "asof": orders.asof_join(shops, orders["at"] >= shops.since, "who").select("who", "at", "y"),
    "joined, then aggregated": orders.left_join(shops, "who").group_by("who", "at").agg(n=ibis._.y.sum()),
    "two halves": orders.union(orders.filter(orders.x > 1)),
    "renamed": orders.select(courier="who", at="at", x="x").rename(who="courier"),
}
NOT_LOCAL = {
    "over everybody": selected(orders.x.mean().over(ibis.window(order_by="at", preceding=3, following=0))),
    "by hour only": HOURS.group_by("hour").agg(n=HOURS.count(), who=HOURS.who.min()),
    "changed key": orders.mutate(who=orders.who.upper()),
    "another key": orders.left_join(shops, orders.id == shops.shop).select("who", "at", "y"),
    "a limit": orders.limit(3),
    "filled key": orders.fill_null({"who": "?"}),
}
AHEAD = {
    "mean runs to the end": selected(orders.x.mean().over(by_who())),
    "mean takes in later rows": selected(orders.x.mean().over(by_who(preceding=3, following=2))),
    "sum takes in later rows": selected(
        orders.x.sum().over(by_who(preceding=ibis.interval(hours=1), following=ibis.interval(hours=1)))
    ),
    "lead takes the value of a later row": selected(orders.x.lead().over(by_who())),
    "lag takes the value of a later row": selected(
        orders.x.lag().over(ibis.window(group_by="who", order_by=ibis.desc("at")))
    ),
    "rownumber counts from the newest": selected(
        ibis.row_number().over(ibis.window(group_by="who", order_by=ibis.desc("at")))
    ),
    "percentrank counts all rows": selected(orders.x.percent_rank().over(by_who())),
    "ordered by 'x'": selected(orders.x.cumsum(group_by="who", order_by="x")),
    "the window has no order": orders.group_by("who").mutate(m=orders.x.mean()),
    "by who takes in rows of all times": orders.group_by("who").agg(at=orders["at"].max(), n=orders.count()),
    "takes in all rows, later": orders.filter(orders.x < orders.x.max()),
}
MULTIPLIES = {
    "on who may match several": orders.left_join(shops, "who").select("who", "at", "y"),
    "on nothing may match several": orders.cross_join(shops).select("at", "y"),
}


@pytest.mark.parametrize("name", LOCAL)
def test_local_to_its_entity(name):
    reach = reach_of(LOCAL[name], FACTS)
    assert any("who" in path.columns and set(path.read.values()) == {"who"} for path in reach.paths)
    assert reach.looks_ahead == ()
    assert reach.multiplies == ()


@pytest.mark.parametrize("name", NOT_LOCAL)
def test_not_local(name):
    assert not any("who" in path.columns for path in reach_of(NOT_LOCAL[name], FACTS).paths)


@pytest.mark.parametrize("text", AHEAD)
def test_looks_ahead(text):
    assert any(text in found for found in reach_of(AHEAD[text], FACTS).looks_ahead)


@pytest.mark.parametrize("text", MULTIPLIES)
def test_multiplies_rows(text):
    assert any(text in found for found in reach_of(MULTIPLIES[text], FACTS).multiplies)


def test_a_join_on_a_key_or_with_a_time_does_not_multiply():
    assert not reach_of(orders.left_join(shops, orders.id == shops.shop), FACTS).multiplies
    assert not reach_of(
        orders.left_join(shops, [orders.who == shops.who, orders["at"] > shops.since]), FACTS
    ).multiplies


source = Dataset("orders", push(), event_time="at", key="id", contract=[column("id", "int")])
SCHEMAS = {"orders": orders.schema()}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda t: t.select("who", "at", f=t.x.mean().over(by_who())), "looks ahead: mean runs to the end"),
        (lambda t: t.inner_join(t.view(), "who").select("who", "at", f="x"), "may multiply rows"),
        (lambda t: t.select("who", "at", f=ibis.random()), "gives other values at each run"),
        (lambda t: t.select("who", "at", f=(ibis.now() - t["at"]).cast("int")), "gives other values at each run"),
    ],
)
def test_a_view_is_refused_when_it_is_compiled(function, message):
    with pytest.raises(FeatureError, match=message):
        compile_view(feature_view(function, source, entity="who", name="v"), SCHEMAS)


def test_one_may_say_that_it_looks_ahead():
    view = feature_view(lambda t: t.select("who", "at", f=t.x.lead().over(by_who())), source, entity="who", name="v",
                        looks_ahead=True)  # fmt: skip
    assert compile_view(view, SCHEMAS).fields[0].name == "f"


def test_a_view_of_a_view_is_local_through_it():
    pace = feature_view(lambda t: t.select("who", "at", f=t.x.lag().over(by_who())), source, entity="who", name="pace")
    change = feature_view(
        lambda p: p.select("who", "at", d=p.f - p.f.lag().over(by_who())), pace, entity="who", name="d"
    )
    total = feature_view(lambda p: p.select("who", "at", d=p.f.sum().over(ibis.cumulative_window(order_by="at"))), pace,
                         entity="who", name="t")  # fmt: skip
    assert [dict(path.read) for path in compile_view(change, SCHEMAS).reach.paths] == [{"orders": "who"}]
    assert compile_view(total, SCHEMAS).reach.paths == ()
    assert change.version != feature_view(change.function, source, entity="who", name="d").version
