"""Applications that answer with a model of their own process, and what is kept when they are killed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from flask import Flask, jsonify, request
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.forks import Forks

from loopwright.core.errors import RequestError
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.serving.log.compactor import PredictionTable

_CHILD = """
import os, random, signal, sys, threading
sys.path.insert(0, HERE)
import couriers
from pathlib import Path
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.features.online import MemoryOnlineStore
from loopwright.serving.in_process.serving import Serving

def main(folder, seed):
    drawn = random.Random(seed)
    said = os.open(folder + "/said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    stores = open_stores(Settings.load(Path(folder), environ={}))
    eta = Serving(stores, source=couriers.Source(), online=MemoryOnlineStore).predictor("eta")
    threading.Timer(drawn.uniform(0.02, 0.12), os.kill, (os.getpid(), signal.SIGKILL)).start()

    def ask():
        while True:
            rows = [{"courier_id": "ann", "km": 1.0}] * drawn.randint(1, 3)
            for one in eta.predict_many(rows):
                os.write(said, (one.prediction_id + "\\n").encode())

    for _ in range(3):
        threading.Thread(target=ask).start()
    ask()
"""


def test_a_starlette_application_answers_with_the_model(open_serving):
    serving = open_serving()

    @asynccontextmanager
    async def lifespan(app):
        with serving.predictor("eta") as app.state.eta:
            yield

    async def eta(asked):
        try:
            answer = await asked.app.state.eta.predict_one_async(
                await asked.json(), request_id=asked.headers.get("x-request-id")
            )
        except RequestError as error:
            return JSONResponse({"error": str(error)}, status_code=error.status)
        return JSONResponse({"minutes": answer.value, "id": answer.prediction_id, "version": answer.version})

    def waiting(asked):  # Starlette runs it on a thread
        return JSONResponse({"minutes": asked.app.state.eta.predict_one({"courier_id": "ann"}).value})

    def metrics(_):
        return Response(serving.exposition(), media_type="text/plain; version=0.0.4")

    routes = [Route("/eta", eta, methods=["POST"]), Route("/waiting", waiting), Route("/metrics", metrics)]
    with TestClient(Starlette(routes=routes, lifespan=lifespan)) as client:

        def ask(number: int) -> bool:
            answer = client.post("/eta", json={"courier_id": "ann", "km": number})
            return answer.json().get("minutes", answer.text) == 1004.5 + number or pytest.fail(answer.text)

        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(ask, range(60)))
        assert client.get("/waiting").json() == {"minutes": 1004.5}
        wrong = client.post("/eta", json={"km": 1}, headers={"x-request-id": "r-1"})
        assert (wrong.status_code, wrong.json()["error"][:6]) == (400, "Row 0:")
        assert 'protocol="in-process"' in client.get("/metrics").text
    assert PredictionTable(serving.stores, "eta").read().num_rows == 62


def test_a_flask_application_answers_with_the_model(open_serving):
    serving = open_serving()
    app = Flask("deliveries")

    @app.post("/eta")
    def eta():
        return jsonify([one.value for one in serving.predictor("eta").predict_many(request.json)])

    assert app.test_client().post("/eta", json=[{"courier_id": "ann"}, {"courier_id": "bob"}]).json == [1004.5, 999.0]


@pytest.fixture(scope="module")
def forks():
    with Forks(_CHILD.replace("HERE", repr(str(Path(__file__).parent)))) as running:
        yield running


def test_what_an_application_saw_survives_its_kill(forks, tmp_path):
    said = tmp_path / "said"
    stores = open_stores(Settings.load(tmp_path, environ={}))
    for seed in range(6):
        assert forks.run(tmp_path, seed) == -9
    seen = [line for line in said.read_text().splitlines() if len(line) == 36]
    assert len(seen) > 6
    kept = PredictionTable(stores, "eta").read(columns=["prediction_id"]).column(0).to_pylist()
    stores.close()
    assert len(kept) == len(set(kept))
    assert set(seen) <= set(kept)
