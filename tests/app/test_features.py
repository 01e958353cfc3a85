"""The verb ``features`` on a project whose two models share a view of a view."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.app.conftest import ask

from loopwright.registry.alias import Override
from loopwright.workspace import Workspace

PROJECT = '''
import ibis
import loopwright as lw

loop = lw.Loop("couriers")
orders = loop.dataset(
    "orders",
    source=lw.files("data/*.csv"),
    event_time="placed_at",
    key="order_id",
    contract=[
        lw.column("order_id", "int"),
        lw.column("placed_at", "timestamp"),
        lw.column("courier", "string"),
        lw.column("km", "float"),
        lw.column("minutes", "float"),
    ],
)


@loop.features(orders, entity="courier", ttl="9999d", owner="riders", tags=["pace"], fresh="1h")
def pace(orders):
    """Minutes per kilometre over the last orders."""
    window = ibis.window(group_by="courier", order_by="placed_at", preceding=LAST, following=-1)
    return orders.select("courier", "placed_at", pace=(orders.minutes / orders.km).mean().over(window))


@loop.features(pace, entity="courier")
def change(pace):
    """How the pace changed."""
    window = ibis.window(group_by="courier", order_by="placed_at")
    return pace.select("courier", "placed_at", change=pace.pace - pace.pace.lag().over(window))


def fit(train):
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(max_iter=3).fit(train.X, train.y)


@loop.model("eta", label=lw.label(orders.minutes, arrives_after="1h"), features=[orders.km, pace, change],
            holdout=lw.latest("12h"), metrics=["mae"], gates=[lw.at_most("mae", 1000.0)])
def eta(train):
    return fit(train)


@loop.model("far", label=lw.label(orders.km, arrives_after="1h"), features=[pace],
            holdout=lw.latest("12h"), metrics=["mae"], gates=[lw.at_most("mae", 1000.0)])
def far(train):
    return fit(train)


loop.deploy(eta, online=lw.online())
loop.deploy(far, online=lw.online())
'''
START = datetime(2026, 1, 1, tzinfo=UTC)


def orders_csv(first, last):
    lines = ["order_id,placed_at,courier,km,minutes"]
    for n in range(first, last):
        at = (START + timedelta(minutes=20 * n)).isoformat()
        lines.append(f"{n},{at},c{n % 5},{1 + n % 7},{5 + (n * 7) % 31}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("couriers")
    (folder / "loop.py").write_text(PROJECT.replace("LAST", "5"))
    (folder / "data").mkdir()
    (folder / "data" / "a.csv").write_text(orders_csv(0, 300))
    said = ask("run", "--project", str(folder))
    assert said.code == 0, said.error
    return folder


def asked(project, *words, code=0):
    said = ask("features", *words, "--project", str(project))
    assert said.code == code, said.error
    return json.loads(said.out) if "--json" in words else said.out + said.error


def test_what_is_listed_and_shown(project):
    pace, change = asked(project, "list", "--json")
    assert (pace["view"], pace["number"], pace["models"], pace["features"]) == ("pace", 1, ["eta", "far"], ["pace"])
    assert (change["entity"], change["models"]) == (["courier"], ["eta"])
    assert "riders" in asked(project, "list")
    shown = asked(project, "show", "pace", "--json")
    assert shown["consumers"]["models"] == ["eta/1", "far/1"]
    assert shown["view"]["sources"] == ["dataset:orders"]
    text = asked(project, "show", "pace")
    assert "Minutes per kilometre" in text
    assert "preceding=5" in text
    assert "There is no feature view on record 'pas'" in asked(project, "show", "pas", code=2)


def test_lineage_is_a_tree(project):
    tree = asked(project, "lineage", "change")
    lines = [line.strip("│├└─ ").split("@")[0] for line in tree.splitlines()]
    assert lines.index("dataset orders") < lines.index("view pace") < lines.index("view change")
    assert "model eta/1" in lines
    edges = asked(project, "lineage", "pace", "--json")["edges"]
    assert {"source": "dataset:orders", "relation": "read"}.items() <= {**edges[0]}.items()


def test_filling_comparing_and_keeping(project):
    filled = {one["view"].partition("@")[0]: one for one in asked(project, "materialize", "--json")}
    assert set(filled) == {"pace", "change"}  # one filling of the shared view
    assert all(one["differences"] == [] for one in asked(project, "parity", "--json"))
    assert "different" in asked(project, "parity")
    fresh = {one["view"].partition("@")[0]: one for one in asked(project, "freshness", "--json")}
    assert fresh["pace"]["met"] is False
    assert fresh["change"]["met"] is None
    (kept,) = asked(project, "materialize", "pace", "--from", "2026-01-01", "--to", "2026-01-03", "--json")
    assert (kept["rows_written"], kept["parts_written"]) == (144, 2)
    assert "says no range" in asked(project, "materialize", "--to", "2026-01-03", code=2)
    assert "is no moment" in asked(project, "materialize", "--from", "soon", code=2)


def test_getting_what_is_served(project):
    asked(project, "materialize", "--json")
    both = asked(project, "get", "pace", "change", "--entity", "courier=c1", "--entity", "courier=nobody", "--json")
    assert [(one["view"].partition("@")[0], one["entity"]["courier"]) for one in both] == [
        (view, courier) for view in ("pace", "change") for courier in ("c1", "nobody")
    ]
    assert both[0]["values"]["pace"] > 0
    assert both[1]["values"] is None
    assert asked(project, "get", "pace@1", "--entity", "courier=c1", "--json")[0] == both[0]
    assert "pace" in asked(project, "get", "pace", "--entity", "courier=c1")
    assert "Row 0 lacks courier" in asked(project, "get", "pace", code=2)
    assert "names no entity" in asked(project, "get", "pace", "--entity", "c1", code=2)


def test_a_changed_view_lets_the_old_version_answer_until_it_is_replaced(project):
    def collected():
        return ask("gc", "--dry-run", "--keep", "0s", "--project", str(project)).out

    def online():
        return {one["view"]: one for one in asked(project, "materialize", "--json")}

    (old,) = [name for name in online() if name.startswith("pace@")]
    changed = PROJECT.replace("LAST", "9")
    (project / "loop.py").write_text(changed.replace('lw.at_most("mae", 1000.0)', 'lw.at_most("mae", 0.0)'))
    (project / "data" / "b.csv").write_text(orders_csv(300, 330))
    ask("run", "--project", str(project))  # the new versions do not pass
    both = online()
    pace = [name for name in both if name.startswith("pace@")]
    assert len(pace) == 2
    assert old in pace
    assert both[old]["rows_known"] == 5
    answer = ask("predict", "eta", '[{"km": 3.0, "courier": "c1"}]', "--project", str(project))
    assert json.loads(answer.out)["version"] == 1
    assert "online view" not in collected()
    with Workspace.open(project) as workspace:
        for model in ("eta", "far"):
            override = Override(by="a tester", reason="to see the old rows go")
            workspace.aliases.move(model, "champion", 2, expected=1, by="a tester", override=override)
    assert old not in online()
    assert "online view" not in collected()  # a rollback would ask for them
    with Workspace.open(project) as workspace:
        for model in ("eta", "far"):
            workspace.registry.archive(workspace.registry.get(model, 1))
    assert "online view" in collected()
    assert ask("gc", "--keep", "0s", "--project", str(project)).code == 0
    assert "online view" not in collected()
    with Workspace.open(project) as workspace:
        left = [name for name in workspace.features.online.views() if name.startswith("pace@")]
    assert left == [name for name in pace if name != old]
    assert asked(project, "show", "pace", "--json")["view"]["number"] == 2
    assert asked(project, "show", "pace", "--version", "1", "--json")["view"]["version"] in old
