"""What a project decides about its HTTP door: pages of other origins, and errors without detail."""

from __future__ import annotations

import json

import pytest
from tests.serving.doors_in_process import ROWS, doors

from loopwright.core.errors import SettingsError
from loopwright.serving.doors.cors_door import CorsDoor
from loopwright.serving.http.options import HttpOptions


@pytest.fixture
def serve(tmp_path, clock, ids):
    with doors(tmp_path, clock, ids) as make:
        yield make


ORIGIN = "https://app.example.com"


def test_pages_of_the_origins_that_are_set_may_ask(serve):
    served = serve()
    door = CorsDoor(served.door, [ORIGIN])
    preflight = served.ask("OPTIONS", "/predict/churn", b"", door, origin=ORIGIN, access_control_request_method="POST")
    headers = dict(preflight.headers)
    assert (preflight.status, preflight.body) == (200, b"")
    assert headers[b"access-control-allow-origin"] == ORIGIN.encode()
    assert b"authorization" in headers[b"access-control-allow-headers"]
    assert b"POST" in headers[b"access-control-allow-methods"]
    assert b"access-control-allow-credentials" not in headers

    answer = served.ask("POST", "/predict/churn", ROWS, door, origin=ORIGIN)
    assert answer.status == 200
    assert dict(answer.headers)[b"access-control-allow-origin"] == ORIGIN.encode()
    assert dict(answer.headers)[b"vary"] == b"origin"
    refused = served.ask("POST", "/predict/churn", {}, door, origin=ORIGIN)
    assert refused.status == 400
    assert dict(refused.headers)[b"access-control-allow-origin"] == ORIGIN.encode()


def test_other_pages_get_nothing_that_lets_them_read(serve):
    served = serve()
    door = CorsDoor(served.door, [ORIGIN])
    for origin in ("https://app.example.com.evil.example", "http://app.example.com", "null"):
        preflight = served.ask("OPTIONS", "/predict/churn", b"", door, origin=origin)
        assert preflight.status == 403
        answer = served.ask("POST", "/predict/churn", ROWS, door, origin=origin)
        for response in (preflight, answer):
            assert b"access-control-allow-origin" not in dict(response.headers)
            assert dict(response.headers)[b"vary"] == b"origin"
    assert served.ask("OPTIONS", "/predict/churn", b"", door).status == 405
    assert not any(name.startswith(b"access") for name, _ in served.ask("POST", "/predict/churn", ROWS).headers)


@pytest.mark.parametrize("origin", ["*", "https://app.example.com/", "app.example.com", "https://App.example.com", ""])
def test_what_is_no_origin_is_refused_in_the_settings(origin):
    with pytest.raises(SettingsError, match="no origin"):
        HttpOptions(cors_origins=(origin,))


# Errors without detail.


def test_errors_can_keep_the_schema_to_themselves(serve):
    served = serve(error_detail=False)
    bodies = [{}, [{"spend": 1}], [{"months": "secret"}], {"rows": [{"months": None}]}, {"columns": {"months": [None]}}]
    for body in bodies:
        status, document = served.post("/predict/churn", body)
        assert status == 400
        assert document.keys() == {"error", "request_id"}
        assert document["error"] == "The request does not fit what is served here."
        assert document["request_id"]
    for path in ("/predict/other", "/v1/models/other", "/v2/models/other", "/else"):
        document = json.loads(served.ask("POST", path, {}).body)
        assert "churn" not in document["error"]
    assert served.ask("GET", "/predict/churn").status == 405
    assert served.post("/predict/churn", {}, x_request_id="mine")[1]["request_id"] == "mine"


def test_a_server_without_detail_keeps_the_reasons_of_its_state(serve):
    served = serve(error_detail=False)
    served.not_ready = "churn/3 could not be loaded: ValueError"
    for path in ("/readyz", "/ping", "/v2/health/ready"):
        answer = served.ask("GET", path)
        assert (answer.status, b"churn" in answer.body) == (503, False)
    loud = serve()
    loud.not_ready = served.not_ready
    assert b"churn/3" in loud.ask("GET", "/readyz").body
