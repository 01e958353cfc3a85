"""The description of the routes and the page: valid, complete, quiet about what is sensitive, for those who may."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import jsonschema
import numpy as np
import pytest
from tests.serving.doors_in_process import FIELDS, INPUTS, ROWS, Churn, Houses, doors

from loopwright.evaluation.outputs import Outputs
from loopwright.features.assembly import FeatureAssembly
from loopwright.features.field import Field
from loopwright.features.request import RequestField


@pytest.fixture
def serve(tmp_path, clock, ids):
    with doors(tmp_path, clock, ids) as make:
        yield make


def described(served) -> dict:
    return json.loads(served.ask("GET", "/openapi.json").body)


def resolved(document: dict, schema: dict) -> dict:
    return {**schema, "components": document["components"]}


def test_the_description_is_valid_and_has_each_route(serve):
    validator = pytest.importorskip("openapi_spec_validator")
    document = described(serve({"churn": [Churn()], "houses": [Houses()]}))
    validator.validate(document)
    paths = document["paths"]
    for model in ("churn", "houses"):
        for path in ("/predict/{}", "/invocations/{}", "/v1/models/{}:predict", "/v2/models/{}/infer", "/outcomes/{}"):
            assert "post" in paths[path.format(model)]
    assert {"/livez", "/readyz", "/metrics", "/ping", "/version", "/v2", "/openapi.json"} <= paths.keys()
    assert "/invocations" not in paths
    assert "/invocations" in described(serve())["paths"]


def test_a_row_is_described_with_its_types_and_categories(serve):
    row = described(serve())["components"]["schemas"]["churn.Row"]
    assert row["required"] == ["months"]
    assert row["properties"]["months"]["type"] == "integer"
    assert row["properties"]["spend"]["type"] == ["number", "null"]
    assert row["properties"]["plan"]["enum"] == ["basic", "full", None]
    assert row["examples"] == [{"months": 1, "spend": 1.5, "plan": "basic"}]


def test_what_is_described_is_answered(serve):
    served = serve()
    document = described(served)
    schemas = document["components"]["schemas"]
    asked = resolved(document, schemas["churn.Request"])
    by_column = {"columns": ["plan", "spend", "months"], "data": [["full", None, 3]]}
    for body in (ROWS, {"rows": ROWS, "keys": ["a", None]}, ROWS[0], by_column):
        jsonschema.validate(body, asked)
        status, answer = served.post("/predict/churn", body)
        assert status == 200
        jsonschema.validate(answer, resolved(document, schemas["churn.Answer"]))
    for path, item in document["paths"].items():
        for content in item.get("post", {}).get("requestBody", {}).get("content", {}).values():
            for example in content.get("schema", {}).get("examples", []):
                assert served.post(path.replace("{version}", "1"), example)[0] == 200, path
    for body in ({}, [], {"rows": [{}]}, [{"months": "3"}]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(body, asked)
        status, answer = served.post("/predict/churn", body)
        assert status == 400
        jsonschema.validate(answer, schemas["Error"])


class Hidden(Churn):
    """Takes a category that the dataset hashes, an array and a photo."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (
            RequestField("plan", "category", hidden="hash"),
            RequestField("pixels", "float", shape=(2, 3)),
            RequestField("photo", "image", required=False),
        )
        fields = (FIELDS[2], Field("pixels", "float32", shape=(2, 3)))
        self.assembly = FeatureAssembly(inputs, fields)
        self.assembly.with_pseudonyms(type("Same", (), {"of": staticmethod(str)})())

    def predict(self, rows) -> Outputs:
        shares = np.full((len(next(iter(rows.values()))), 2), 0.5)
        return Outputs("binary", np.full(len(shares), "stay"), shares, ("stay", "leave"))


def test_what_is_hidden_in_the_dataset_is_hidden_in_the_description(serve):
    text = json.dumps(described(serve({"churn": [Hidden()]})))
    row = json.loads(text)["components"]["schemas"]["churn.Row"]
    assert "basic" not in text
    assert "enum" not in row["properties"]["plan"]
    assert row["properties"]["pixels"]["minItems"] == 2
    assert row["properties"]["pixels"]["items"]["maxItems"] == 3
    assert row["properties"]["photo"]["contentEncoding"] == "base64"
    assert row["examples"][0]["pixels"] == [[1.5] * 3] * 2


def test_the_page_runs_its_own_script_and_nothing_else(serve):
    answer = serve().ask("GET", "/docs")
    assert answer.content_type == b"text/html; charset=utf-8"
    policy = dict(answer.headers)[b"content-security-policy"].decode()
    page = answer.body.decode()
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?://|innerHTML|insertAdjacentHTML|document\.write|eval\(|\son\w+=\"", page)


def test_page_and_description_are_for_those_who_may(serve):
    served = serve()
    served.token = "secret"  # noqa: S105
    for headers in ({}, {"authorization": "Bearer other"}, {"authorization": "Basic !"}):
        refused = served.ask("GET", "/docs", **headers)
        assert refused.status == 401
        assert dict(refused.headers)[b"www-authenticate"].startswith(b"Basic")
        assert served.ask("GET", "/openapi.json", **headers).status == 401
    basic = "Basic " + base64.b64encode(b"anybody:secret").decode()
    for authorization in ("Bearer secret", basic):
        assert served.ask("GET", "/docs", authorization=authorization).status == 200
    assert served.ask("GET", "/openapi.json", authorization="Bearer secret").status == 200
    # What a browser remembers, and sends for any page, opens nothing else.
    assert served.ask("POST", "/predict/churn", ROWS, authorization=basic).status == 401


def test_page_and_description_can_be_switched_off(serve):
    served = serve(docs=False)
    assert [served.ask("GET", path).status for path in ("/docs", "/openapi.json")] == [404, 404]
    assert served.ask("POST", "/predict/churn", ROWS).status == 200


def test_inputs_of_the_test_model_are_those_of_its_description(serve):
    row = described(serve())["components"]["schemas"]["churn.Row"]
    assert list(row["properties"]) == [field.name for field in INPUTS]
