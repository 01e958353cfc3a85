"""What is wrong with a view is said before a turn begins, and what is wrong with a declaration where it is written."""

from __future__ import annotations

import ibis
import pytest

from loopwright.core.errors import DeclarationError, FeatureError, UnknownNameError
from loopwright.data.contract.column import column
from loopwright.data.contract.contract import Contract
from loopwright.data.sources.push import push
from loopwright.evaluation.gate import every_slice
from loopwright.features.label import label
from loopwright.features.split import entities, fraction
from loopwright.loop.check_views import check_views
from loopwright.loop.project import Loop

COLUMNS = (
    column("id", "int"),
    column("at", "timestamp"),
    column("who", "string"),
    column("x", "float"),
    column("y", "float"),
)


def project(*, strict=False):
    loop = Loop("checks")
    contract = Contract(columns=COLUMNS, strict=strict)
    return loop, loop.dataset("events", source=push(), event_time="at", key="id", contract=contract)


def model(loop, events, *features, gates=(), holdout=None):
    declare = loop.model("m", label=label(events.y), features=features, holdout=holdout or fraction(0.2),
                         metrics=["mae"], gates=gates)  # fmt: skip
    return declare(lambda train: train)


def by_who(**bounds):
    return ibis.window(group_by="who", order_by="at", **bounds)


def test_a_view_is_compiled_without_data():
    loop, events = project()
    view = loop.features(events, entity="who", name="v")(lambda t: t.select("who", "at", z=t.x.lag().over(by_who())))
    loop.features(view, entity="who", name="w")(lambda v: v.select("who", "at", u=v.z * 2))
    assert {name: [field.name for field in fields] for name, fields in check_views(loop).items()} == {
        "v": ["z"],
        "w": ["u"],
    }


def test_what_only_the_data_has_is_left_for_later():
    loop, events = project()
    loop.features(events, entity="who", name="v")(lambda t: t.select("who", "at", "undeclared"))
    assert check_views(loop) == {}
    loop, events = project(strict=True)
    loop.features(events, entity="who", name="v")(lambda t: t.select("who", "at", "undeclared"))
    with pytest.raises(FeatureError, match="raised"):
        check_views(loop)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda t: t.select("who", "at", z=t.x.lead().over(by_who())), "looks ahead"),
        (lambda t: t.group_by("who").agg(at=t["at"].max(), z=t.count()), "looks ahead"),
        (lambda t: t.inner_join(t.view(), "who").select("who", "at", z="x"), "may multiply rows"),
        (lambda t: t.select("at", z="x"), "no entity column"),
    ],
)
def test_a_view_that_breaks_a_rule(function, message):
    loop, events = project()
    loop.features(events, entity="who", name="v")(function)
    with pytest.raises(FeatureError, match=message):
        check_views(loop)


def test_names_that_meet():
    loop, events = project()
    view = loop.features(events, entity="who", name="v")(lambda t: t.select("who", "at", x=t.x.lag().over(by_who())))
    model(loop, events, events.x, view)
    with pytest.raises(FeatureError, match="named 'x': one of the column 'x', one of the view 'v'"):
        check_views(loop)


def test_a_slice_of_what_is_no_feature():
    loop, events = project()
    model(loop, events, events.x, gates=[every_slice("who", "mae", within=0.1)])
    with pytest.raises(UnknownNameError, match="for every_slice to judge by"):
        check_views(loop)


def test_what_is_refused_where_it_is_written():
    loop, events = project(strict=True)
    with pytest.raises(FeatureError, match="leaks"):
        model(loop, events, events.y)
    with pytest.raises(FeatureError, match="are named 'x'"):
        model(loop, events, events.x, events.x)
    with pytest.raises(UnknownNameError, match="the holdout is keyed"):
        model(loop, events, events.x, holdout=entities(0.2, by="whom"))
    view = loop.features(events, entity={"who": "person"}, name="v")(lambda t: t.select("who", "at", z="x"))
    with pytest.raises(UnknownNameError, match="the view 'v' is keyed"):
        model(loop, events, view)
    other = Loop("other")
    with pytest.raises(DeclarationError, match="which this project does not declare"):
        other.features(view, entity="who", name="w")(lambda v: v)
