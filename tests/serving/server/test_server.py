"""The serving process as its clients and its supervisor see it: real processes, real sockets, real signals."""

from __future__ import annotations

import base64
import gzip
import json
import signal
import struct
import threading

import httpx
import pytest

from loopwright.core.clock import SystemClock
from loopwright.core.errors import SettingsError
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.dataset import Dataset
from loopwright.data.sources.push import push
from loopwright.serving.deploy import OnlineDeployment
from loopwright.serving.log.compactor import PredictionTable
from loopwright.serving.models.model_source import RegistrySource
from loopwright.serving.server.server import Server
from loopwright.serving.server_plan import ServerPlan


def lake(folder, model: str = "nonce"):
    stores = open_stores(Settings.load(folder, environ={}), clock=SystemClock())
    try:
        return PredictionTable(stores, model).read().to_pylist()
    finally:
        stores.close()


def metric(text: str, name: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + "{"))


def test_one_server_end_to_end(start_server, tmp_path):
    """One process, all doors: a start costs more than the questions."""
    server = start_server(models=["nonce", "bright"])
    client = server.client

    for path in ("/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"):
        assert client.get(path).status_code == 200
    assert client.get("/v2/health/ready").json() == {"live": True, "ready": True}
    assert client.get("/v2").json()["name"] == "loopwright"
    assert client.get("/").json()["models"] == ["bright", "nonce"]

    answer = client.post("/predict/nonce", json={"rows": [{"x": 1}, {"x": 2}], "keys": ["a", "b"]})
    assert answer.status_code == 200
    document = answer.json()
    assert document["predictions"] == [1001.0, 1002.0]
    assert (document["model"], document["version"]) == ("nonce", 1)
    assert len(set(document["prediction_ids"])) == 2
    assert answer.headers["x-model-version"] == "1"
    assert answer.headers["x-request-id"]
    assert client.post("/predict/nonce", json={"x": 1, "extra": 2}).json()["ignored"] == ["extra"]
    named = server.predict(1, **{"x-request-id": "mine-1"})
    assert named.headers["x-request-id"] == "mine-1"

    # Images three ways.
    for response in (
        client.post("/predict/bright", files=[("image", ("a.png", bytes([250] * 9))), ("image", ("b.png", bytes(9)))]),
        client.post(
            "/predict/bright",
            json=[
                {"image": base64.b64encode(bytes([250] * 9)).decode()},
                {"image": base64.b64encode(bytes(9)).decode()},
            ],
        ),
    ):
        assert response.status_code == 200, response.text
        assert response.json()["predictions"] == ["light", "dark"]
        assert response.json()["classes"] == ["dark", "light"]
        assert response.json()["probabilities"][1] == [1.0, 0.0]
    raw = client.post("/predict/bright", content=bytes([250] * 9), headers={"content-type": "image/png"})
    assert raw.json()["predictions"] == ["light"]

    # Open Inference Protocol.
    assert client.get("/v2/models/bright").json() == {
        "name": "bright",
        "versions": ["1"],
        "platform": "loopwright",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "predict", "datatype": "BYTES", "shape": [-1]},
            {"name": "predict_proba", "datatype": "FP64", "shape": [-1, 2]},
            {"name": "prediction_id", "datatype": "BYTES", "shape": [-1]},
        ],
    }
    assert client.get("/v2/models/nonce/versions/1/ready").json() == {"name": "nonce", "ready": True}
    assert client.get("/v2/models/nonce/versions/7/ready").status_code == 404
    tensor = {"name": "x", "shape": [2, 1], "datatype": "FP64", "data": [[1], [2]]}
    first = [{"name": "predict"}]
    inferred = client.post("/v2/models/nonce/infer", json={"id": "42", "inputs": [tensor], "outputs": first})
    assert inferred.json() == {
        "model_name": "nonce",
        "model_version": "1",
        "id": "42",
        "outputs": [{"name": "predict", "shape": [2], "datatype": "FP64", "data": [1001.0, 1002.0]}],
    }
    asked = {"inputs": [tensor], "outputs": [{"name": "prediction_id"}, {"name": "predict"}]}
    outputs = client.post("/v2/models/nonce/versions/1/infer", json=asked).json()["outputs"]
    assert [(output["name"], output["datatype"]) for output in outputs] == [
        ("prediction_id", "BYTES"),
        ("predict", "FP64"),
    ]
    raw = struct.pack("<2d", 1, 2)
    sent = {"name": "x", "shape": [2], "datatype": "FP64", "parameters": {"binary_data_size": len(raw)}}
    header = json.dumps({"inputs": [sent], "outputs": asked["outputs"][1:], "parameters": {"binary_data_output": True}})
    length = {"Inference-Header-Content-Length": str(len(header))}
    answer = client.post("/v2/models/nonce/infer", content=header.encode() + raw, headers=length)
    assert answer.headers["content-type"] == "application/octet-stream"
    start = int(answer.headers["inference-header-content-length"])
    assert struct.unpack("<2d", answer.content[start:]) == (1001.0, 1002.0)
    image = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(bytes(9)).decode()]}
    both = client.post("/v2/models/bright/infer", json={"inputs": [image]}).json()["outputs"]
    assert both[1] == {"name": "predict_proba", "datatype": "FP64", "shape": [1, 2], "data": [1.0, 0.0]}

    # Outcomes are in the event log before the caller is thanked.
    told = client.post("/outcomes/nonce", json=[{"prediction_id": document["prediction_ids"][0], "value": 7.5}])
    assert told.json() == {"model": "nonce", "accepted": 1}
    stores = open_stores(Settings.load(tmp_path, environ={}))
    packed = gzip.compress(json.dumps({"prediction_id": document["prediction_ids"][1], "value": 8}).encode())
    told = client.post("/outcomes/nonce", content=packed, headers={"content-encoding": "gzip"})
    assert told.json() == {"model": "nonce", "accepted": 1}
    event, second = stores.events.read("outcomes/nonce", after=0, limit=10)
    stores.close()
    assert (event.key, second.key) == tuple(document["prediction_ids"][:2])
    assert [json.loads(one.value)["label"] for one in (event, second)] == ["7.5", "8"]

    check_refusals(server)

    text = client.get("/metrics").text
    assert (
        'loopwright_requests_total{code="200",model="nonce",protocol="oip-json",route="champion",version="1"}' in text
    )
    assert metric(text, "loopwright_log_rows_accepted_total") == metric(text, "loopwright_log_rows_durable_total")
    assert metric(text, "loopwright_request_seconds_count") > 5
    assert server.stop() == 0
    assert not (tmp_path / "serving.json").exists()
    rows = {row["prediction_id"]: row for row in lake(tmp_path)}
    assert rows[document["prediction_ids"][1]]["key"] == "b"
    assert rows[document["prediction_ids"][1]]["features"] == '{"x":2.0}'
    assert [row["request_id"] for row in rows.values()].count("mine-1") == 1
    assert {row["output_text"] for row in lake(tmp_path, "bright")} == {"light", "dark"}
    assert "Traceback" not in server.stderr.read_text()


def check_refusals(server) -> None:
    """Every bad request gets one JSON object that says what is wrong, and no traceback."""
    table = [
        ("POST", "/predict/none", b"{}", {}, 404, "no model 'none'"),
        ("GET", "/predict/nonce", b"", {}, 405, "Use POST"),
        ("POST", "/predict", b'{"x":1}', {}, 404, "/predict/nonce"),
        ("POST", "/predict/nonce", b'{"columns":["x"]}', {}, 400, "'columns' needs the rows beside it"),
        ("GET", "/nothing", b"", {}, 404, "nothing at /nothing"),
        ("GET", "/v2/models/nonce/nothing", b"", {}, 404, "nothing at"),
        ("POST", "/predict/nonce", b"{", {}, 400, "not valid JSON"),
        ("POST", "/predict/nonce", b"{}", {}, 400, "'x' is missing"),
        ("POST", "/predict/nonce", b'{"x":null}', {}, 400, "'x' is null"),
        ("POST", "/predict/nonce", b'{"x":"far"}', {}, 400, "'x' must be a number"),
        ("POST", "/predict/nonce", b'{"rows":[{"x":1},{"x":true}]}', {}, 400, "Row 1"),
        ("POST", "/predict/nonce", b'{"x":-1}', {}, 500, "ZeroDivisionError"),
        ("POST", "/predict/nonce", b'{"x":1}', {"x-model-version": "9"}, 404, "Served now: 1"),
        ("POST", "/predict/nonce", b'{"x":1}', {"x-model-version": "latest"}, 404, "no version number"),
        ("POST", "/predict/nonce", b'{"x":1}', {"x-request-timeout-ms": "soon"}, 400, "X-Request-Timeout-Ms"),
        ("POST", "/predict/nonce", b'{"x":1}', {"x-request-timeout-ms": "0"}, 504, "deadline"),
        ("POST", "/predict/nonce", b'{"x":1}', {"x-request-id": "x" * 200}, 400, "X-Request-Id"),
        ("POST", "/predict/nonce", b" " * (16 * 2**20 + 1), {}, 413, "at most"),
        ("POST", "/v2/models/nonce/infer", b"{}", {}, 400, "'inputs'"),
        ("POST", "/v2/models/nonce/infer", b"{}", {"inference-header-content-length": "3"}, 400, "has 2 bytes"),
        ("POST", "/v2/models/nonce/versions/x/infer", b"{}", {}, 404, "no version number"),
        ("POST", "/outcomes", b'{"prediction_id":"p","value":1}', {}, 400, "say which"),
        ("POST", "/outcomes/nope", b'{"prediction_id":"p","value":1}', {}, 404, "no model 'nope'"),
        ("POST", "/outcomes/nonce", b'{"value":1}', {}, 400, "prediction_id"),
        ("POST", "/outcomes/nonce", b'{"prediction_id":"p","value":null}', {}, 400, "needs a 'value'"),
        ("POST", "/outcomes/nonce", b'{"prediction_id":"p","value":1,"observed_at":"now"}', {}, 400, "ISO time"),
        ("POST", "/outcomes/nonce", b'{"prediction_id":"p","value":"many"}', {}, 400, "must be a number"),
        ("POST", "/outcomes/nonce", b"[]", {}, 400, "no outcomes"),
        ("POST", "/outcomes/nonce", b"[]", {"content-encoding": "gzip"}, 400, "unpacked as gzip"),
        ("POST", "/outcomes/nonce", b"[]", {"content-encoding": "br"}, 415, "not read"),
        ("GET", "/outcomes/nonce", b"", {}, 405, "Use POST"),
    ]
    for method, path, body, headers, status, said in table:
        answer = server.client.request(method, path, content=body, headers=headers)
        assert answer.status_code == status, (path, body[:50], answer.text)
        assert said in answer.json()["error"], (path, body[:50], answer.text)
        assert "Traceback" not in answer.text
    assert server.client.get("/predict/nonce").headers["allow"] == "POST"
    wrong = server.client.post("/predict/nonce", json={"rows": [{"x": 1}, {"x": "far"}]}).json()
    assert (wrong["field"], wrong["row"]) == ("x", 1)
    slow = server.client.post("/predict/nonce", json={"x": 5400}, headers={"x-request-timeout-ms": "50"})
    assert slow.status_code in (200, 504)
    torn = server.client.post("/predict/nonce", content=(part for part in [b'{"x":', b"1}"]))
    assert torn.status_code == 200, "a body in parts"


def test_versions_are_swapped_under_load_without_a_failed_request(start_server, set_target, tmp_path):
    """Each answer is computed by the version it names, while the champion changes again and again."""
    server = start_server()
    stop = threading.Event()
    failures: list[str] = []
    seen: set[int] = set()
    answered = [0]

    def ask(worker: int) -> None:
        with httpx.Client(base_url=server.url, timeout=120, trust_env=False) as client:
            number = 0
            while not stop.is_set():
                number += 1
                x = worker * 100 + number % 100
                answer = client.post("/predict/nonce", json={"x": x})
                document = answer.json()
                version = document.get("version")
                if answer.status_code != 200 or document["predictions"] != [x + 1000.0 * version]:
                    failures.append(answer.text)
                seen.add(version)
                answered[0] += 1

    workers = [threading.Thread(target=ask, args=(worker,)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for version in range(1, 8):
        set_target(champion=version)
        server.wait_for(lambda version=version: version in seen)
    stop.set()
    for worker in workers:
        worker.join()
    assert failures == []
    assert seen == set(range(1, 8))
    assert answered[0] > 100
    assert server.stop() == 0
    rows = lake(tmp_path)
    assert len({row["prediction_id"] for row in rows}) == len(rows) >= answered[0]
    assert all(row["output_number"] // 1000 == row["version"] for row in rows)


def test_acknowledged_predictions_survive_a_kill_exactly_once(start_server, tmp_path):
    acknowledged: list[str] = []
    for _ in range(2):
        server = start_server()

        def ask(server=server) -> None:
            with httpx.Client(base_url=server.url, timeout=120, trust_env=False) as client:
                try:
                    while True:
                        answer = client.post("/predict/nonce", json={"rows": [{"x": 1}, {"x": 2}]})
                        acknowledged.extend(answer.json()["prediction_ids"])
                except (httpx.TransportError, ValueError):
                    return

        before = len(acknowledged)
        workers = [threading.Thread(target=ask) for _ in range(2)]
        for worker in workers:
            worker.start()
        server.wait_for(lambda before=before: len(acknowledged) > before + 150)
        server.kill()
        for worker in workers:
            worker.join()
        (tmp_path / "serving.json").unlink()
    logged = [row["prediction_id"] for row in lake(tmp_path)]
    assert len(logged) == len(set(logged))
    assert set(acknowledged) <= set(logged)
    assert len(lake(tmp_path)) == len(logged), "reading again adds nothing"


def test_sigterm_finishes_what_is_in_flight(start_server, set_target, tmp_path):
    set_target(champion=101)  # slow, so that it computes beside the event loop
    server = start_server(drain_delay_s=0.2)
    answers = []
    slow = threading.Thread(target=lambda: answers.append(server.predict(5600)))  # computes for 600 ms
    slow.start()
    with httpx.Client(base_url=server.url, timeout=120, trust_env=False) as other:
        server.wait_for(lambda: metric(other.get("/metrics").text, "loopwright_inflight") == 1)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(lambda: other.get("/readyz").status_code == 503)
        assert "draining" in other.get("/readyz").json()["error"]
        during = other.post("/predict/nonce", json={"x": 1})
        assert during.status_code == 200, "still accepted, so that load balancers have time to notice"
        assert during.headers["connection"] == "close"
    slow.join()
    assert answers[0].json()["predictions"] == [106600.0]
    assert server.process.wait(20) == 0
    assert {row["output_number"] for row in lake(tmp_path)} == {106600.0, 101001.0}


def test_a_version_that_fails_its_self_test_never_answers(start_server, set_target, tmp_path):
    server = start_server()
    set_target(champion=1, challenger=2, stage="canary", share=1.0, salt="s", broken=[2])
    refused = tmp_path / "refused.txt"
    server.wait_for(lambda: refused.exists() and refused.read_text())
    assert "nonce/2 could not be loaded: nonce/2 fails its self-test" in refused.read_text()
    assert server.predict(1).json()["version"] == 1
    set_target(champion=3, broken=[3])
    server.wait_for(lambda: "nonce/3" in refused.read_text())
    assert server.predict(1).json()["version"] == 1
    assert 'loopwright_model_load_failures_total{model="nonce"}' in server.client.get("/metrics").text


def test_a_server_without_a_champion_is_alive_and_not_ready(start_server, set_target):
    set_target(champion=None)
    server = start_server(ready=False)
    assert server.client.get("/livez").status_code == 200
    assert server.client.get("/readyz").status_code == 503
    assert server.client.get("/v2/models/nonce/ready").status_code == 503
    refused = server.predict(1)
    assert (refused.status_code, "not loaded" in refused.json()["error"]) == (503, True)
    set_target(champion=4)
    server.ready()
    assert server.predict(1).json()["version"] == 4


def test_tokens_guard_everything_but_health(start_server):
    server = start_server(tokens=["first", "second"])
    assert server.client.get("/metrics").status_code == 401
    assert server.predict(1).status_code == 401
    assert server.predict(1, authorization="Bearer wrong").status_code == 401
    assert server.predict(1, authorization="Bearer second").status_code == 200


def test_another_address_than_loopback_needs_a_token():
    with pytest.raises(SettingsError, match=r"0\.0\.0\.0 opens the server"):
        ServerPlan(models={"m": OnlineDeployment()}, host="0.0.0.0")  # noqa: S104
    ServerPlan(models={"m": OnlineDeployment()}, host="0.0.0.0", tokens=("t",))  # noqa: S104
    ServerPlan(models={"m": OnlineDeployment()}, host="::1")
    with pytest.raises(SettingsError, match="a model to serve, or a dataset"):
        ServerPlan(models={})
    ServerPlan(models={}, datasets=(Dataset("clicks", push()),))  # rows may be pushed before there is a model


def test_a_slow_model_holds_up_no_other(stores):
    """Batches that are computed beside the event loop have a thread for each model."""
    plan = ServerPlan(models={"slow": OnlineDeployment(), "other": OnlineDeployment()})
    server = Server(stores, RegistrySource(stores), plan)
    ends = threading.Event()
    try:
        slow = server.endpoints["slow"]._executor.submit(ends.wait, 60)
        assert server.endpoints["other"]._executor.submit(lambda: "answered").result(60) == "answered"
        assert not slow.done()
    finally:
        ends.set()
        server.close()
