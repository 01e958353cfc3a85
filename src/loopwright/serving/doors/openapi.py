"""The description of a server's routes in OpenAPI 3.1, made from the models that it serves at the moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.serving.doors.openapi_model import model_paths, model_schemas, operation, responses
from loopwright.serving.doors.openapi_schema import TEXT, list_of, object_of
from loopwright.serving.http.media_type import ARROW_STREAM, JSON
from loopwright.serving.http.message import kind_of_status

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from loopwright.serving.doors.openapi_schema import Schema
    from loopwright.serving.predictor import Predictor

_STATUSES = (400, 401, 403, 404, 405, 413, 415, 429, 500, 503, 504)
_ANY: Schema = {"type": "object"}
_TENSOR: Schema = object_of(
    {
        "name": {"type": "string", "minLength": 1},
        "shape": list_of({"type": "integer", "minimum": 0}),
        "datatype": {
            "enum": [
                *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
                *("FP16", "BF16", "FP32", "FP64", "BYTES"),
            ]
        },
        "data": {"type": "array"},
        "parameters": _ANY,
    },
    required=["name", "shape", "datatype"],
)


def document(
    predictors: Mapping[str, Predictor], *, datasets: Collection[str], version: str, needs_token: bool
) -> dict[str, object]:
    """Return the description.

    Args:
        predictors: The champion of each model that is loaded.
        datasets: The datasets that take pushed rows.
        version: The server's version.
        needs_token: Whether a bearer token is asked for.
    """
    paths: dict[str, Schema] = {}
    schemas: dict[str, Schema] = {
        "Error": object_of(
            {"error": TEXT, "field": TEXT, "row": {"type": "integer"}, "request_id": TEXT}, required=["error"]
        ),
        "Outcome": object_of(
            {
                "prediction_id": {"type": "string", "minLength": 1},
                "value": {"type": ["number", "string", "boolean"]},
                "observed_at": {"type": ["string", "null"], "format": "date-time"},
            },
            required=["prediction_id", "value"],
        ),
        "InferenceRequest": object_of(
            {"id": TEXT, "parameters": _ANY, "inputs": list_of(_TENSOR, least=1), "outputs": list_of(_ANY)},
            required=["inputs"],
        ),
        "InferenceResponse": object_of(
            {"model_name": TEXT, "model_version": TEXT, "id": TEXT, "outputs": list_of(_TENSOR)},
            required=["model_name", "outputs"],
        ),
    }
    for name, predictor in sorted(predictors.items()):
        schemas |= model_schemas(name, predictor)
        paths |= model_paths(name, predictor)
    if len(predictors) == 1:
        only = next(iter(paths[path] for path in paths if path.startswith("/invocations/")))
        paths["/invocations"] = only
    paths |= {f"/ingest/{dataset}": _push(dataset) for dataset in sorted(datasets)}
    paths |= _server_paths()
    described: dict[str, object] = {
        "openapi": "3.1.0",
        "info": {"title": "Loopwright", "version": version, "description": _described(predictors)},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": _parameters(),
            "responses": {f"Error{status}": _error(status) for status in _STATUSES},
            **({"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if needs_token else {}),
        },
    }
    return {**described, "security": [{"token": []}]} if needs_token else described


def _described(predictors: Mapping[str, Predictor]) -> str:
    served = ", ".join(f"{name} {predictor.version}" for name, predictor in sorted(predictors.items()))
    return f"Served now: {served or 'no model'}."


def _server_paths() -> dict[str, Schema]:
    health = responses(object_of({"live": {"type": "boolean"}, "ready": {"type": "boolean"}}), 503)
    read = responses(_ANY, 401, 403)
    text: Schema = {"200": {"description": "Text.", "content": {"text/plain": {"schema": TEXT}}}}
    ping: Schema = {"200": {"description": "Ready."}, "503": {"$ref": "#/components/responses/Error503"}}
    refused = {status: {"$ref": f"#/components/responses/Error{status}"} for status in ("401", "403")}
    paths: dict[str, Schema] = {}
    for path in ("/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"):
        paths[path] = {"get": operation("server", "Health", health, security=[])}
    for path in ("/ping", "/health"):
        paths[path] = {"get": operation("server", "Health, as MLflow answers it", ping, security=[])}
    paths["/version"] = {"get": operation("server", "Version of the server", {**text, **refused})}
    paths["/metrics"] = {"get": operation("server", "Metrics, in Prometheus' text format", {**text, **refused})}
    paths["/"] = {"get": operation("server", "Models", read)}
    paths["/v2"] = {"get": operation("server", "Metadata of the server", read)}
    index = responses(list_of(_ANY), 400, 401, 403)
    body: Schema = {"required": False, "content": {JSON: {"schema": object_of({"ready": {"type": "boolean"}})}}}
    paths["/v2/repository/index"] = {"post": {**operation("server", "Models and versions", index), "requestBody": body}}
    paths["/openapi.json"] = {"get": operation("server", "This description", read)}
    return paths


def _push(dataset: str) -> Schema:
    rows = list_of(_ANY, least=1)
    body: Schema = {
        JSON: {"schema": {"anyOf": [object_of({"rows": rows, "batch_id": TEXT}, required=["rows"]), rows]}},
        "application/x-ndjson": {"schema": {}},
        ARROW_STREAM: {"schema": {}},
    }
    key: Schema = {"name": "Idempotency-Key", "in": "header", "schema": TEXT}
    answer = responses(_ANY, 400, 401, 403, 404, 413, 429, 503, description="Stored, or in the quarantine.")
    return {"post": operation("data", f"Push rows to {dataset}", answer, body=body, parameters=[key])}


def _error(status: int) -> Schema:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": kind_of_status(status), "content": {JSON: {"schema": schema}}}


def _parameters() -> Schema:
    printable = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[ -~]*$"}
    return {
        "RequestId": _header("X-Request-Id", "What the log calls the request.", printable),
        "ModelVersion": _header(
            "X-Model-Version", "A version to be asked.", {"type": "integer", "minimum": 1, "maximum": 999_999_999}
        ),
        "Timeout": _header(
            "X-Request-Timeout-Ms",
            "Milliseconds after which no answer is wanted.",
            {"type": "number", "minimum": 0, "maximum": 999_999_999},
        ),
        "Route": _header("X-Routing-Key", "What sticks to a version while two are compared.", printable),
    }


def _header(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "header", "description": description, "schema": schema}
