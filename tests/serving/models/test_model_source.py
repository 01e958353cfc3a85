"""Serving what the registry holds: real versions, from their registration to the answer."""

from __future__ import annotations

import asyncio

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

from loopwright.core.ref import Ref
from loopwright.features.assembly import FeatureAssembly, TransformCall, assembly_to_bytes
from loopwright.features.columns import model_input, to_arrow
from loopwright.features.field import Field
from loopwright.features.request import RequestField
from loopwright.registry.alias import Aliases, Override
from loopwright.registry.candidate import Candidate
from loopwright.registry.registry import Registry
from loopwright.serving.calls.endpoint import InferenceCall
from loopwright.serving.deploy import online
from loopwright.serving.models.loading import prepare
from loopwright.serving.models.model_source import RegistrySource
from loopwright.serving.models.swap import ModelWatch
from loopwright.serving.releases.release import ReleasePlan
from loopwright.serving.releases.release_store import ReleaseStore
from loopwright.serving.releases.router import Routing
from loopwright.training.estimators.choice import save_model

CITIES = ("Bergen", "Oslo", "Tromsø")
FIELDS = (
    Field("distance", "float64"),
    Field("city", "category", categories=CITIES),
    Field("stops", "int64", nullable=False),
)
INPUTS = (
    RequestField("distance", "float", required=False),
    RequestField("city", "category", required=False),
    RequestField("stops", "int"),
)


def columns(rows: int = 300, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "distance": random.uniform(0, 20, rows),
        "city": random.integers(0, 3, rows).astype(np.int32),
        "stops": random.integers(0, 9, rows),
    }


def register(stores, tmp_path, estimator, run: str = "run-1"):
    data = columns()
    y = data["distance"] * 3 + data["city"] * 5 + data["stops"]
    target = (
        y if hasattr(estimator, "loss") and estimator.loss == "squared_error" else np.where(y > 30, "slow", "quick")
    )
    estimator.fit(model_input(data, FIELDS), target)
    folder = tmp_path / run
    folder.mkdir()
    version = Registry(stores).register(
        Candidate(
            model="eta",
            run_id=run,
            model_file=save_model(estimator, folder, trust=True),
            model_path=folder,
            fields=FIELDS,
            assembly=assembly_to_bytes(FeatureAssembly(INPUTS, FIELDS)),
            training_set=Ref("training_set", "t"),
            training_rows=pa.table({field.name: to_arrow(data[field.name], field) for field in FIELDS}),
        )
    )
    return version, estimator


def as_rows(data: dict[str, np.ndarray], count: int) -> list[dict[str, object]]:
    return [
        {
            "distance": float(data["distance"][i]),
            "city": CITIES[data["city"][i]],
            "stops": int(data["stops"][i]),
        }
        for i in range(count)
    ]


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingRegressor(max_iter=20, categorical_features="from_dtype"),
        HistGradientBoostingClassifier(max_iter=20, categorical_features="from_dtype"),
    ],
    ids=["regression", "binary"],
)
def test_a_served_row_gets_the_estimator_s_own_answer(stores, tmp_path, clock, estimator):
    version, fitted = register(stores, tmp_path, estimator)
    slot = prepare(Registry(stores).load(version), online=None, clock=clock)
    data = columns(40, seed=9)
    expected = model_input(data, FIELDS)
    for size in (1, 40):
        answers = slot.predictor.predict_many(as_rows(data, size))
        own = fitted.predict(expected.iloc[:size])
        if answers.classifies:
            assert answers.values == own.tolist()
            np.testing.assert_allclose(answers.probabilities, fitted.predict_proba(expected.iloc[:size]), atol=1e-5)
        else:
            np.testing.assert_allclose(answers.values, own, rtol=1e-4)
    odd = slot.predictor.predict_many([{"stops": 1}, {"stops": 1, "city": "Paris", "distance": None}])
    assert odd.values[0] == pytest.approx(odd.values[1]) if not odd.classifies else odd.values[0] == odd.values[1]
    assert odd.features[1] == {"distance": None, "city": None, "stops": 1}


def test_the_source_follows_alias_and_release(stores, tmp_path):
    for run in ("run-1", "run-2"):
        register(stores, tmp_path, HistGradientBoostingRegressor(max_iter=5), run)
    source, aliases = RegistrySource(stores), Aliases(stores)
    assert source.target("eta") is None
    aliases.move("eta", "champion", 1, expected=None, by="anna", override=Override("anna", "first"))
    assert source.target("eta").routing == Routing(1)
    releases = ReleaseStore(stores)
    plan = ReleasePlan.from_deployment(online(canary=[20, 100]))
    release = releases.open("eta", champion="eta/1", challenger="eta/2", plan=plan)
    target = source.target("eta")
    assert (target.champion, target.challenger, target.routing.share) == ("eta/1", "eta/2", 0.2)
    assert target.routing.experiment == release.experiment
    releases.move(release, "promote")
    assert source.target("eta").champion == "eta/2", "traffic moves before the alias"
    source.refuse("eta", "eta/2", "it does not load")
    assert releases.get(release.id).reason == "it does not load"
    assert source.target("eta").routing == Routing(1)


def test_a_release_over_another_champion_has_no_traffic(stores, tmp_path):
    for run in ("run-1", "run-2"):
        register(stores, tmp_path, HistGradientBoostingRegressor(max_iter=5), run)
    aliases = Aliases(stores)
    aliases.move("eta", "champion", 1, expected=None, by="anna", override=Override("anna", "first"))
    plan = ReleasePlan.from_deployment(online(canary=[20]))
    ReleaseStore(stores).open("eta", champion="eta/1", challenger="eta/2", plan=plan)
    aliases.move("eta", "champion", 2, expected=1, by="anna", override=Override("anna", "by hand"))
    assert RegistrySource(stores).target("eta").routing == Routing(2)


def test_the_change_counter_moves_with_an_alias(stores, tmp_path, make_endpoint, clock):
    register(stores, tmp_path, HistGradientBoostingRegressor(max_iter=5))
    parts = make_endpoint()
    parts.endpoint.model = "eta"
    watch = ModelWatch(RegistrySource(stores), {"eta": parts.endpoint}, online=None, metrics=parts.metrics, clock=clock)
    assert not watch.check()
    Aliases(stores).move("eta", "champion", 1, expected=None, by="anna", override=Override("anna", "first"))
    assert watch.check()
    call = InferenceCall(as_rows(columns(), 3), "rows")
    served = asyncio.run(parts.endpoint.answer(call))
    assert (served.version, len(served.answers.values)) == (1, 3)


def test_an_array_model_is_asked_with_its_vector(stores, tmp_path, clock):
    fields = (Field("pixels", "float32", shape=(4,), origin="transform"),)
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 4)).astype(np.float32)
    estimator = LogisticRegression().fit(X, (X[:, 0] > 0).astype(int))
    folder = tmp_path / "run"
    folder.mkdir()

    def spread(images: list[bytes]) -> np.ndarray:
        return np.stack([np.frombuffer(image, dtype=np.float32) for image in images])

    call = TransformCall("pixels", ("image",), spread, 64, fields[0])
    assembly = FeatureAssembly((RequestField("image", "image"),), fields, transforms=(call,))
    version = Registry(stores).register(
        Candidate(
            model="bits",
            run_id="r",
            model_file=save_model(estimator, folder, trust=True),
            model_path=folder,
            fields=fields,
            assembly=assembly_to_bytes(assembly),
            training_set=Ref("training_set", "t"),
            training_rows=pa.table({"pixels": to_arrow(X, fields[0])}),
        )
    )
    slot = prepare(Registry(stores).load(version), online=None, clock=clock)
    answers = slot.predictor.predict_many([{"image": row.tobytes()} for row in X[:20]])
    assert answers.values == estimator.predict(X[:20]).tolist()
    assert answers.features[0]["pixels"] == pytest.approx(X[0].tolist())
