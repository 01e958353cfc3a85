"""The protocol's routes with models from a registry: binary tensors, named outputs, metadata, refusals, any bytes."""

from __future__ import annotations

import asyncio
import json
import struct
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.clock import ManualClock
from loopwright.core.errors import ModelFailedError, RequestError
from loopwright.core.ids import Ids, seeded_entropy
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.registry.given import given_candidate
from loopwright.registry.registry import Registry
from loopwright.serving.calls.endpoint import Endpoint
from loopwright.serving.calls.shadow import ShadowRunner
from loopwright.serving.calls.slot import Active
from loopwright.serving.doors.front_door import FrontDoor
from loopwright.serving.doors.open_inference_door import OpenInferenceDoor
from loopwright.serving.http.message import HttpRequest, HttpResponse, error_response
from loopwright.serving.http.pending_response import PendingResponse
from loopwright.serving.log.prediction_log import PredictionLog
from loopwright.serving.metrics import ServingMetrics
from loopwright.serving.models.loading import prepare
from loopwright.serving.releases.router import Routing


class AddSub:
    def predict(self, X):
        values = X.to_numpy()
        return {"OUTPUT0": values[:, :2] + values[:, 2:], "OUTPUT1": values[:, :2] - values[:, 2:]}


class Mixed:
    """Half the number as a float of 16 bits, whether it is large, and its name."""

    def predict(self, X):
        x = X["x"].to_numpy()
        return {
            "half": np.clip(x / 2, -999, 999).astype(np.float16),
            "large": x > 10,
            "name": np.array([f"n{one:g}" for one in x]),
        }


class Total:
    def predict(self, X):
        return X.to_numpy().sum(axis=1)


class Length:
    def predict(self, X):
        return np.array([float(len(text)) for text in X["note"]])


class Failed:
    """What the REST door does with an error."""

    def failed(self, request, given, error):  # noqa: ARG002
        return error_response(error if isinstance(error, RequestError) else ModelFailedError(repr(error)))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("door")
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    stores = open_stores(Settings.load(folder, environ={}))
    some = np.arange(6, dtype=np.float64)
    pair = np.arange(12, dtype=np.int32).reshape(6, 2)
    models = {
        "simple": (AddSub(), {"INPUT0": pair, "INPUT1": pair}),
        "mixed": (Mixed(), {"x": some}),
        "total": (Total(), {"a": some, "b": some, "c": [*some[1:], np.nan]}),
        "length": (Length(), {"note": ["a", "bb"]}),
    }
    metrics = ServingMetrics()
    executor = ThreadPoolExecutor(1)
    ids = Ids(clock, seeded_entropy(0))
    endpoints, logs, shadow = {}, {}, ShadowRunner(capacity=1, on_drop=int)
    registry = Registry(stores)
    for name, (model, rows) in models.items():
        (folder / name).mkdir()
        loaded = registry.load(registry.register(given_candidate(name, model, rows, folder / name, trust=True)))
        logs[name] = PredictionLog(folder / "log", name, clock=clock, ids=ids)
        endpoint = Endpoint(
            name, log=logs[name], metrics=metrics, executor=executor, shadow=shadow, clock=clock, ids=ids
        )
        endpoint.active = Active(Routing(1), prepare(loaded, online=None, clock=clock))
        endpoints[name] = endpoint
    endpoints["absent"] = Endpoint(
        "absent", log=logs["total"], metrics=metrics, executor=executor, shadow=shadow, clock=clock, ids=ids
    )
    state = SimpleNamespace(draining=False, not_ready_because=lambda: None)
    door = OpenInferenceDoor(endpoints, state=state, metrics=metrics, clock=clock, version="1")
    with asyncio.Runner() as runner:

        def ask(path, body=b"", method="POST", headers=None) -> HttpResponse:
            async def respond() -> HttpResponse:
                request = HttpRequest(method, path, headers or {}, body)
                try:
                    answer = door.respond(request, None)
                except RequestError as error:
                    return error_response(error)
                if isinstance(answer, PendingResponse):
                    answer.belongs_to(Failed(), request, None)
                return answer if isinstance(answer, HttpResponse) else await answer

            return runner.run(respond())

        yield SimpleNamespace(ask=ask, logs=logs, door=door, endpoints=endpoints, state=state, folder=folder)
    shadow.close()
    executor.shutdown()
    for log in logs.values():
        log.close()
    stores.close()


def packed(document: object, *blobs: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    header = json.dumps(document).encode()
    return b"".join([header, *blobs]), {b"inference-header-content-length": str(len(header)).encode()}


def raw_input(name: str, datatype: str, shape: list[int], blob: bytes) -> dict[str, object]:
    parameters = {"binary_data_size": len(blob)}
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}


def unpacked(answer: HttpResponse) -> tuple[dict, dict[str, bytes]]:
    """Return the JSON of a binary answer, and the raw bytes by output."""
    length = int(dict(answer.headers)[b"inference-header-content-length"])
    assert answer.content_type == b"application/octet-stream"
    document, rest = json.loads(answer.body[:length]), answer.body[length:]
    blobs = {}
    for output in document["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is not None:
            blobs[output["name"]], rest = rest[:size], rest[size:]
    assert rest == b""
    return document, blobs


def test_two_inputs_and_two_named_outputs_as_raw_bytes(served):
    first, second = struct.pack("<4i", 1, 2, 3, 4), struct.pack("<4i", 10, 20, 30, 2**31 - 40)
    inputs = [raw_input("INPUT0", "INT32", [2, 2], first), raw_input("INPUT1", "INT32", [2, 2], second)]
    asked = [{"name": "OUTPUT1", "parameters": {"binary_data": True}}, {"name": "OUTPUT0"}]
    answer = served.ask(
        "/v2/models/simple/infer",
        *packed({"id": "9", "inputs": inputs, "outputs": asked}, first, second)[:1],
        headers=packed({"id": "9", "inputs": inputs, "outputs": asked})[1],
    )
    document, blobs = unpacked(answer)
    assert document["outputs"] == [
        {"name": "OUTPUT1", "datatype": "INT32", "shape": [2, 2], "parameters": {"binary_data_size": 16}},
        {"name": "OUTPUT0", "datatype": "INT32", "shape": [2, 2], "data": [11, 22, 33, 2**31 - 36]},
    ]
    assert (document["id"], document["model_name"], document["model_version"]) == ("9", "simple", "1")
    assert struct.unpack("<4i", blobs["OUTPUT1"]) == (-9, -18, -27, 4 - (2**31 - 40))


def test_the_default_answers_all_outputs(served):
    tensors = [{"name": f"INPUT{n}", "datatype": "INT32", "shape": [1, 2], "data": [[1, 2]]} for n in (0, 1)]
    answer = served.ask("/v2/models/simple/infer", json.dumps({"inputs": tensors}).encode())
    assert [one["name"] for one in json.loads(answer.body)["outputs"]] == ["OUTPUT0", "OUTPUT1", "prediction_id"]
    body = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
    document, blobs = unpacked(served.ask("/v2/models/simple/infer", body))
    assert blobs["OUTPUT0"] == struct.pack("<2i", 2, 4)
    assert struct.unpack("<I", blobs["prediction_id"][:4]) == (36,)
    assert all("data" not in one for one in document["outputs"])


def test_outputs_of_different_types_under_their_names(served):
    body = json.dumps(
        {
            "inputs": [{"name": "x", "datatype": "FP64", "shape": [2], "data": [3, 21]}],
            "outputs": [{"name": "name"}, {"name": "large"}, {"name": "half", "parameters": {"binary_data": True}}],
        }
    ).encode()
    document, blobs = unpacked(served.ask("/v2/models/mixed/infer", body))
    assert document["outputs"][0] == {"name": "name", "datatype": "BYTES", "shape": [2], "data": ["n3", "n21"]}
    assert document["outputs"][1] == {"name": "large", "datatype": "BOOL", "shape": [2], "data": [False, True]}
    assert np.frombuffer(blobs["half"], dtype="<f2").tolist() == [1.5, 10.5]
    refused = served.ask(
        "/v2/models/mixed/infer", json.dumps(json.loads(body) | {"outputs": [{"name": "half"}]}).encode()
    )
    assert refused.status == 400
    assert "no JSON form" in json.loads(refused.body)["error"]


def test_named_outputs_stand_in_the_log_as_json(served):
    body = json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [4]}], "outputs": [{"name": "large"}]}
    )
    assert served.ask("/v2/models/mixed/infer", body.encode()).status == 200
    counts = served.logs["mixed"].counts()
    assert counts.accepted == counts.durable > 0
    written = b"".join(path.read_bytes() for path in (served.folder / "log").rglob("*") if path.is_file())
    assert b'{"half":2.0,"large":false,"name":"n4"}' in written


def test_a_matrix_by_position_in_every_form(served):
    matrix = np.array([[1, 2, 3], [4, 5, np.nan]], dtype=np.float32)
    body, headers = packed(
        {"inputs": [raw_input("m", "FP32", [2, 3], matrix.tobytes())], "outputs": [{"name": "predict"}]},
        matrix.tobytes(),
    )
    document = json.loads(served.ask("/v2/models/total/infer", body, headers=headers).body)
    assert document["outputs"] == [{"name": "predict", "datatype": "FP64", "shape": [2], "data": [6.0, None]}]
    many = np.ones((100, 3))
    body, headers = packed({"inputs": [raw_input("m", "FP64", [100, 3], many.tobytes())]}, many.tobytes())
    document = json.loads(served.ask("/v2/models/total/infer", body, headers=headers).body)
    assert document["outputs"][0]["data"] == [3.0] * 100
    as_json = {"inputs": [{"name": "m", "datatype": "FP64", "shape": [100, 3], "data": many.tolist()}]}
    assert (
        json.loads(served.ask("/v2/models/total/infer", json.dumps(as_json).encode()).body)["outputs"][0]
        == document["outputs"][0]
    )


def test_a_body_that_is_one_raw_input(served):
    headers = {b"inference-header-content-length": b"0"}
    _, blobs = unpacked(served.ask("/v2/models/length/infer", "Tromsø".encode(), headers=headers))
    assert struct.unpack("<d", blobs["predict"]) == (6.0,)
    document, _ = unpacked(served.ask("/v2/models/mixed/infer", struct.pack("<3d", 1, 2, 3), headers=headers))
    assert document["outputs"][0]["shape"] == [3]
    for path, body in (("total", b"x"), ("mixed", b"1234567"), ("mixed", b""), ("length", b"\xff")):
        assert served.ask(f"/v2/models/{path}/infer", body, headers=headers).status == 400


def test_metadata_says_what_is_served(served):
    assert json.loads(served.ask("/v2/models/simple", method="GET").body) == {
        "name": "simple",
        "versions": ["1"],
        "platform": "loopwright",
        "inputs": [{"name": f"INPUT{n}", "datatype": "INT32", "shape": [-1, 2]} for n in (0, 1)],
        "outputs": [
            *({"name": f"OUTPUT{n}", "datatype": "INT32", "shape": [-1, 2]} for n in (0, 1)),
            {"name": "prediction_id", "datatype": "BYTES", "shape": [-1]},
        ],
    }
    outputs = json.loads(served.ask("/v2/models/mixed/versions/1", method="GET").body)["outputs"]
    assert [(one["name"], one["datatype"]) for one in outputs][:3] == [
        ("half", "FP16"),
        ("large", "BOOL"),
        ("name", "BYTES"),
    ]
    assert "binary_tensor_data" in json.loads(served.ask("/v2", method="GET").body)["extensions"]
    index = json.loads(served.ask("/v2/repository/index").body)
    assert {one["name"]: one["state"] for one in index} == {
        **dict.fromkeys(("simple", "mixed", "total", "length"), "READY"),
        "absent": "UNAVAILABLE",
    }
    assert len(json.loads(served.ask("/v2/repository/index", b'{"ready":true}').body)) == 4


def test_readiness_of_the_server_and_of_models(served):
    for method in ("GET", "HEAD"):
        assert served.ask("/v2/health/live", method=method).status == 200
        assert served.ask("/v2/health/ready", method=method).status == 200
        assert served.ask("/v2/models/simple/versions/1/ready", method=method).status == 200
    served.state.not_ready_because = lambda: "the model 'absent' is not loaded"
    try:
        answer = served.ask("/v2/health/ready", method="GET")
    finally:
        served.state.not_ready_because = lambda: None
    assert answer.status == 503
    assert json.loads(answer.body) == {"live": True, "ready": False, "error": "the model 'absent' is not loaded"}


def test_statistics_count_what_was_answered(served):
    def stats(path: str) -> dict:
        return json.loads(served.ask(path, method="GET").body)["model_stats"]

    [before] = stats("/v2/models/total/stats")
    tensor = {"name": "m", "datatype": "FP64", "shape": [2, 3], "data": [1] * 6}
    assert served.ask("/v2/models/total/infer", json.dumps({"inputs": [tensor]}).encode()).status == 200
    bad = {"name": "m", "datatype": "FP64", "shape": [1, 3], "data": [None] * 3}
    assert served.ask("/v2/models/total/infer", json.dumps({"inputs": [bad]}).encode()).status == 400
    [after] = stats("/v2/models/total/versions/1/stats")
    assert (after["name"], after["version"]) == ("total", "1")
    assert after["inference_count"] - before["inference_count"] == 2
    for state in ("success", "fail"):
        assert after["inference_stats"][state]["count"] - before["inference_stats"][state]["count"] == 1
    assert len(stats("/v2/models/stats")) == 4
    assert served.ask("/v2/models/total/versions/9/stats", method="GET").status == 404
    assert served.ask("/v2/models/total/stats", method="POST").status == 405


def test_statistics_are_those_of_all_processes(served):
    """The front door puts the sums of all workers in the place of its own process's."""

    class Members:
        async def exposition(self) -> bytes:
            name = "loopwright_requests_total"
            return b"\n".join(
                b'%s{model="total",version="1",route="%s",protocol="rows",code="%s"} %d\n' % (name.encode(), *rest)
                for rest in (
                    (b"champion", b"200", 40),
                    (b"pinned", b"200", 2),
                    (b"champion", b"500", 3),
                    (b"shadow", b"200", 9),
                )
            )

    own = served.ask("/v2/models/total/stats", method="GET")

    class Behind:
        def respond(self, _request: HttpRequest) -> HttpResponse:
            return own

    front = FrontDoor(Behind(), Members())
    answer = asyncio.run(front.respond(HttpRequest("GET", "/v2/models/total/stats", {}, b"")))
    [one] = json.loads(answer.body)["model_stats"]
    assert (one["inference_stats"]["success"]["count"], one["inference_stats"]["fail"]["count"]) == (42, 3)


INFER = "/v2/models/simple/infer"
ONE = {"name": "INPUT0", "datatype": "INT32", "shape": [1, 2], "data": [1, 2]}
TWO = ONE | {"name": "INPUT1"}


@pytest.mark.parametrize(
    ("path", "document", "status", "said"),
    [
        (INFER, {"inputs": [ONE]}, 400, "'INPUT1' is missing"),
        (INFER, {"inputs": [ONE, TWO, ONE | {"name": "more"}]}, 400, "no input 'more'"),
        (INFER, {"inputs": [ONE, TWO], "outputs": [{"name": "OUTPUT2"}]}, 400, "no output 'OUTPUT2'"),
        (INFER, {"inputs": [ONE, TWO | {"shape": [2, 1]}]}, 400, "different numbers of rows"),
        (INFER, {"inputs": [ONE, TWO | {"shape": [1, 1], "data": [1]}]}, 400, "'INPUT1' takes [-1, 2]"),
        (INFER, {"inputs": [ONE, TWO | {"datatype": "FLOAT"}]}, 400, "unknown datatype 'FLOAT'"),
        (INFER, {"inputs": [ONE, TWO | {"datatype": "FP32"}]}, 400, "'INPUT1' takes arrays of int"),
        (INFER, {"inputs": [ONE, TWO | {"datatype": "INT64", "data": [2**31, 1]}]}, 400, "32 bits"),
        (INFER, {"inputs": [ONE, TWO | {"shape": [1, -2]}]}, 400, "'shape'"),
        (INFER, {"inputs": [ONE, TWO | {"shape": [2**40, 2**40]}]}, 400, "too large a shape"),
        (
            "/v2/models/total/infer",
            {"inputs": [ONE | {"name": "m", "shape": [200_000, 3], "data": [0] * 600_000}]},
            413,
            "200000 rows",
        ),
        (
            "/v2/models/total/infer",
            {"inputs": [{"name": "a", "datatype": "FP64", "shape": [1], "data": [None]}] * 1},
            400,
            "'a'",
        ),
        ("/v2/models/simple/versions/9/infer", {"inputs": [ONE, TWO]}, 404, "Version 9"),
        ("/v2/models/nobody/infer", {}, 404, "unknown model: 'nobody'"),
        ("/v2/models/absent/infer", {"inputs": [ONE, TWO]}, 503, "not loaded"),
        ("/v2/models/absent/versions/1/ready", None, 503, "not loaded"),
        ("/v2/models/simple/versions/9/ready", None, 404, "Version 9"),
        ("/v2/models/simple/config", {}, 404, "nothing at"),
        ("/v2/models/simple/infer", None, 405, "POST"),
    ],
)
def test_what_cannot_be_answered_says_why(served, path, document, status, said):
    method, body = ("GET", b"") if document is None else ("POST", json.dumps(document).encode())
    answer = served.ask(path, body, method=method)
    assert (answer.status, said in json.loads(answer.body)["error"]) == (status, True), answer.body


@pytest.mark.parametrize(
    ("length", "said"),
    [
        ("x", "must be a number"),
        ("-1", "must be a number"),
        ("99999", "the body has"),
        ("\u0661", "must be a number"),
        ("3", "JSON"),
    ],
)
def test_a_header_length_that_is_none_is_refused(served, length, said):
    body = json.dumps({"inputs": [ONE, TWO]}).encode()
    answer = served.ask(INFER, body, headers={b"inference-header-content-length": length.encode()})
    assert answer.status == 400
    assert said in json.loads(answer.body)["error"]


def test_bytes_that_belong_to_no_tensor_are_refused(served):
    body, headers = packed({"inputs": [ONE, TWO]}, b"left")
    assert "belong to no tensor" in json.loads(served.ask(INFER, body, headers=headers).body)["error"]
    body, headers = packed({"inputs": [ONE, raw_input("INPUT1", "INT32", [1, 2], b"12345678")]}, b"1234")
    assert "of which 4 are there" in json.loads(served.ask(INFER, body, headers=headers).body)["error"]


values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["INPUT0", "INPUT1", "x"]) | values,
        "datatype": st.sampled_from(["INT32", "INT64", "FP16", "BF16", "BYTES", "BOOL"]) | values,
        "shape": st.lists(st.integers(-1, 3) | st.sampled_from([2**31, 2**63, 10**30]), max_size=3) | values,
        "data": st.lists(values | st.lists(values, max_size=2), max_size=4) | values,
        "parameters": st.dictionaries(
            st.sampled_from(["binary_data_size", "shared_memory_region", "other"]),
            st.integers(-1, 9) | values,
            max_size=2,
        )
        | values,
    },
)
outputs = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["OUTPUT0", "prediction_id", "predict"]) | values},
        optional={
            "parameters": st.dictionaries(st.sampled_from(["binary_data", "classification"]), values, max_size=2)
        },
    ),
    max_size=2,
)
documents = st.fixed_dictionaries(
    {"inputs": st.lists(st.sampled_from([ONE, TWO]) | tensors, max_size=3) | values},
    optional={
        "id": values,
        "outputs": outputs | values,
        "parameters": st.dictionaries(st.sampled_from(["binary_data_output", "timeout"]), values, max_size=2) | values,
    },
)


@settings(max_examples=200)
@given(document=documents, blob=st.binary(max_size=16), length=st.none() | st.just("") | st.integers(0, 400).map(str))
def test_no_body_makes_the_server_fail(served, document, blob, length):
    body = json.dumps(document).encode()
    headers = {}
    if length is not None:
        headers = {b"inference-header-content-length": (length or str(len(body))).encode()}
    for model in ("simple", "mixed", "length"):
        answer = served.ask(f"/v2/models/{model}/infer", body + (blob if length is not None else b""), headers=headers)
        assert answer.status in (200, 400, 413, 504), answer.body
        if answer.status != 200:
            assert json.loads(answer.body)["error"]


@given(body=st.binary(max_size=64), length=st.none() | st.integers(0, 70))
def test_no_bytes_make_the_server_fail(served, body, length):
    headers = {} if length is None else {b"inference-header-content-length": str(length).encode()}
    assert served.ask("/v2/models/length/infer", body, headers=headers).status in (200, 400)
