from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import loopwright as lw
from loopwright.core.errors import DeclarationError, FeatureError, UnknownNameError, UsageError
from loopwright.data.dataset import Dataset
from loopwright.loop.declared import checked_name, memory_bytes
from loopwright.loop.model import ModelDeclaration
from loopwright.loop.project import Loop


def declared(name: str = "parcels") -> tuple[Loop, Dataset]:
    loop = Loop(name)
    columns = [lw.column("kg", "float"), lw.column("price", "float"), lw.column("sent_at", "timestamp")]
    return loop, loop.dataset("parcels", source=lw.push(), event_time="sent_at", contract=columns)


def model(loop: Loop, parcels: Dataset, name: str = "price", **changed: object) -> ModelDeclaration:
    parts: dict[str, object] = {
        "label": lw.label(parcels.price),
        "features": [parcels.kg],
        "holdout": lw.fraction(0.2),
        "metrics": ["mae"],
    }

    def train(train: object) -> object:
        """Learn the price."""
        return train

    return loop.model(name, **{**parts, **changed})(train)  # type: ignore[arg-type]


def test_a_project_holds_what_it_declares() -> None:
    loop, parcels = declared()

    @loop.features(parcels, entity="kg", ttl="7d")
    def by_weight(parcels):
        """Something per weight."""
        return parcels

    @loop.transform(parcels.kg)
    def heavy(kg):
        return kg

    made = model(
        loop,
        parcels,
        features=[parcels["kg", "sent_at"], heavy, by_weight],
        metrics=["mean_absolute_error", "mae", "rmse"],
        gates=[lw.at_most("mae", 3)],
        params={"depth": 3},
        search=lw.search(trials=2, rate=lw.uniform(0, 1)),
        memory="2GB",
        time="1h",
    )
    assert repr(loop) == "Loop('parcels': 1 datasets, 1 models)"
    assert loop.datasets == {"parcels": parcels}
    assert loop.views == {"by_weight": by_weight}
    assert loop.transforms == {"heavy": heavy}
    assert loop.models == {"price": made}
    assert made.features == (parcels.kg, parcels.sent_at, heavy, by_weight)
    assert made.metrics == ("mae", "rmse")
    assert made.params == {"depth": 3}
    assert made.time == timedelta(hours=1)
    assert made.description == "Learn the price."
    assert made("rows") == "rows"
    assert (made.online, made.monitoring, made.retrain) == (None, None, None)


def test_deploying_watching_and_retraining_are_kept_with_the_model() -> None:
    loop, parcels = declared()
    made = model(loop, parcels)
    online = lw.online(canary=[50, 100])
    loop.deploy(made, online=online)
    loop.monitor(made, latency_p99="200ms", business=lw.kpi("refunds", at_most=0.1))
    loop.retrain(made, on=[lw.schedule("0 3 1 * *"), lw.new_rows(10)], approval="manual", cooldown="2h", per="7d")
    assert made.online is online
    assert made.monitoring is not None
    assert made.monitoring.latency_p99 == timedelta(milliseconds=200)
    assert made.retrain is not None
    assert made.retrain.approval == "manual"
    assert (made.retrain.cooldown, made.retrain.per) == (timedelta(hours=2), timedelta(days=7))
    assert len(made.retrain.on) == 2
    assert loop.workload(requests_per_day=1000) is loop.demand


@pytest.mark.parametrize("name", ["", "a/b", "../up", "two words", "m@1", "3m", "a" * 64, 5, None, "m.x"])
def test_a_name_that_no_path_can_hold_is_refused(name: object) -> None:
    loop, parcels = declared()
    declarations: list[Callable[[], object]] = [
        lambda: Loop(name),  # type: ignore[arg-type]
        lambda: model(loop, parcels, name=name),  # type: ignore[arg-type]
        lambda: loop.dataset(name, source=lw.push()),  # type: ignore[arg-type]
    ]
    if name:  # without one, the function's name is taken
        declarations.append(lambda: loop.features(parcels, entity="kg", name=name)(lambda t: t))  # type: ignore[arg-type]
        declarations.append(lambda: loop.transform(parcels.kg, name=name)(lambda kg: kg))  # type: ignore[arg-type]
    for declare in declarations:
        with pytest.raises(DeclarationError, match="name"):
            declare()
    assert len(loop.datasets) == 1
    assert not loop.models | loop.views | loop.transforms


@given(st.text(max_size=70))
def test_a_checked_name_is_a_safe_one(name: str) -> None:
    try:
        checked_name("model", name)
    except DeclarationError:
        return
    assert not set(name) & set("/\\.@: \n'\"%?#")
    assert 0 < len(name) <= 63


def test_two_of_a_kind_cannot_share_a_name() -> None:
    loop, parcels = declared()
    model(loop, parcels)
    declarations: dict[str, Callable[[], object]] = {
        "datasets": lambda: loop.dataset("parcels", source=lw.push()),
        "models": lambda: model(loop, parcels),
        "feature views": lambda: loop.features(parcels, entity="kg", name="v")(lambda t: t),
        "transforms": lambda: loop.transform(parcels.kg, name="t")(lambda kg: kg),
    }
    declarations["feature views"]()
    declarations["transforms"]()
    for kind, declare in declarations.items():
        with pytest.raises(DeclarationError, match=rf"There are two {kind} named"):
            declare()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"features": []}, "at least one feature"),
        ({"features": "kg"}, "features= takes a list, got 'kg'"),
        ({"features": None}, "features= takes a list"),
        ({"features": ["kg"]}, "'kg' is no feature"),
        ({"metrics": []}, "no list of metrics"),
        ({"metrics": "mae"}, "no list of metrics"),
        ({"metrics": [3]}, "no list of metrics"),
        ({"metrics": ["mae"], "gates": [lw.at_most("rmse", 3)]}, "judges 'rmse', which the model does not compute"),
        ({"gates": ["mae"]}, "'mae' is no gate"),
        ({"gates": lw.at_most("mae", 3)}, "gates= takes a list"),
        ({"label": "price"}, "The label of the model 'price' is 'price'"),
        ({"holdout": 0.2}, "The holdout of the model 'price' is 0.2"),
        ({"search": 5}, "The search of the model 'price' is 5"),
        ({"params": "depth"}, "The parameters of the model 'price'"),
        ({"params": {"a": 1}, "search": lw.search(trials=2, a=lw.integer(1, 2))}, "'a' .* is fixed and searched"),
        ({"memory": "lots"}, "'lots' is not a size of memory"),
        ({"memory": "0GB"}, "'0GB' is not a size of memory"),
        ({"time": "soon"}, "'soon' is not a duration"),
        ({"time": "0s"}, "no time to train"),
    ],
)
def test_a_model_with_a_part_that_cannot_be_is_refused(changed: dict[str, object], said: str) -> None:
    loop, parcels = declared()
    with pytest.raises(DeclarationError, match=said):
        model(loop, parcels, **changed)
    assert loop.models == {}


def test_an_unknown_metric_is_said_with_the_nearest() -> None:
    loop, parcels = declared()
    with pytest.raises(UnknownNameError, match=r"no metric 'maee'\. Did you mean 'mae'"):
        model(loop, parcels, metrics=["maee"])
    with pytest.raises(UnknownNameError, match="no metric 'maee'"):
        lw.at_most("maee", 3)


@pytest.mark.parametrize(
    "function",
    [
        5,
        lambda: None,
        lambda train, more: (train, more),
        lambda train, *, depth: (train, depth),
        lambda **anything: anything,
    ],
)
def test_a_training_function_takes_what_it_is_given(function: Callable[..., object]) -> None:
    loop, parcels = declared()
    declare = loop.model(
        "price", label=lw.label(parcels.price), features=[parcels.kg], holdout=lw.fraction(0.2), metrics=["mae"]
    )
    with pytest.raises(DeclarationError, match="training function"):
        declare(function)
    assert loop.models == {}


def test_what_another_project_declared_is_refused() -> None:
    loop, parcels = declared()
    other, others = declared("letters")
    view = other.features(others, entity="kg", name="view")(lambda t: t)
    transform = other.transform(others.kg, name="transform")(lambda kg: kg)
    said = "reads the dataset 'parcels', which this project does not declare"
    for changed in ({"label": lw.label(others.price)}, {"features": [view]}, {"features": [transform]}):
        with pytest.raises(DeclarationError, match=said):
            model(loop, parcels, **changed)
    with pytest.raises(DeclarationError, match=said):
        loop.features(others, entity="kg", name="view")(lambda t: t)
    with pytest.raises(DeclarationError, match=said):
        loop.transform(others.kg, name="transform")(lambda kg: kg)
    with pytest.raises(DeclarationError, match="'parcels', which is no dataset"):
        loop.features("parcels", entity="kg", event_time="t", name="view")(lambda t: t)  # type: ignore[arg-type]
    assert not loop.models | loop.views | loop.transforms


@pytest.mark.parametrize("has_one_of_that_name", [True, False])
def test_a_model_of_another_project_is_refused(has_one_of_that_name: bool) -> None:
    loop, parcels = declared()
    if has_one_of_that_name:
        model(loop, parcels)
    foreign = model(*declared("letters"))
    for use in _uses(loop, foreign):
        with pytest.raises(DeclarationError, match="'price' is not declared in the project 'parcels'"):
            use()
    assert foreign.online is None


@pytest.mark.parametrize("no_model", ["price", print, None])
def test_only_models_are_deployed_watched_and_retrained(no_model: object) -> None:
    loop, parcels = declared()
    model(loop, parcels)
    for use in _uses(loop, no_model):
        with pytest.raises(DeclarationError, match="A model is expected"):
            use()


def _uses(loop: Loop, used: object) -> list[Callable[[], None]]:
    return [
        lambda: loop.deploy(used, online=lw.online()),  # type: ignore[arg-type]
        lambda: loop.monitor(used),  # type: ignore[arg-type]
        lambda: loop.retrain(used, on=[lw.new_rows(10)]),  # type: ignore[arg-type]
    ]


def test_a_deployment_is_one() -> None:
    loop, parcels = declared()
    with pytest.raises(DeclarationError, match="online='yes' is no deployment"):
        loop.deploy(model(loop, parcels), online="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("watch", "said"),
    [
        ({"errors": 2}, "errors is a share"),
        ({"latency_p99": "0s"}, "latency_p99 must be longer than zero"),
        ({"drift": "sometimes"}, "drift='sometimes' is no window"),
        ({"business": [lw.kpi("a", at_most=1), lw.kpi("a", at_most=2)]}, "declared twice"),
    ],
)
def test_a_watch_that_cannot_be_is_refused(watch: dict[str, object], said: str) -> None:
    loop, parcels = declared()
    made = model(loop, parcels)
    with pytest.raises(DeclarationError, match=said):
        loop.monitor(made, **watch)  # type: ignore[arg-type]
    assert made.monitoring is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"on": []}, "begins no turn"),
        ({"on": lw.new_rows(10)}, "on= takes a list"),
        ({"on": ["0 3 1 * *"]}, "'0 3 1 .*begins no turn"),
        ({"approval": "maybe"}, "approval='maybe' is not known"),
        ({"max_turns": 0}, "max_turns must be at least 1"),
        ({"per": "0s"}, "no period"),
        ({"cooldown": "soon"}, "'soon' is not a duration"),
        ({"cooldown": -5}, "cannot be negative"),
    ],
)
def test_a_retraining_that_cannot_be_is_refused(changed: dict[str, object], said: str) -> None:
    loop, parcels = declared()
    made = model(loop, parcels)
    with pytest.raises(DeclarationError, match=said):
        loop.retrain(made, **{"on": [lw.new_rows(10)], **changed})  # type: ignore[arg-type]
    assert made.retrain is None


@pytest.mark.parametrize(
    "declare",
    [
        lambda: lw.schedule("* * * *"),
        lambda: lw.schedule("99 3 1 * *"),
        lambda: lw.schedule("0 0 30 2 *"),
        lambda: lw.schedule(3),
        lambda: lw.new_rows(0),
        lambda: lw.drift_seen(windows=0),
        lambda: lw.loss_above_reference(fresh_rows=-1),
    ],
)
def test_a_trigger_that_never_comes_is_refused(declare: Callable[[], object]) -> None:
    with pytest.raises(DeclarationError):
        declare()


def test_an_error_in_a_view_or_label_is_a_declaration_error_too() -> None:
    loop, parcels = declared()
    with pytest.raises(FeatureError, match="reads no dataset"):
        loop.features(entity="kg")(lambda t: t)
    with pytest.raises(FeatureError, match="it would leak"):
        lw.label(parcels.price, arrives_after="-1h")
    assert issubclass(FeatureError, DeclarationError)
    assert issubclass(DeclarationError, UsageError)


@given(st.integers(1, 10**6), st.sampled_from([("KB", 10**3), ("mb", 10**6), ("GB", 10**9)]))
def test_a_size_of_memory_is_read_as_written(number: int, unit: tuple[str, int]) -> None:
    assert memory_bytes(f"{number} {unit[0]}") == memory_bytes(f" {number}{unit[0]} ") == number * unit[1]
