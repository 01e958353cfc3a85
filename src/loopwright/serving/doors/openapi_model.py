"""The routes of one served model in OpenAPI: rows, MLflow's, TensorFlow Serving's, the Open Inference Protocol's."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from loopwright.serving.doors.openapi_schema import (
    TEXT,
    answer_schema,
    component,
    list_of,
    object_of,
    row_example,
    row_schema,
    rows_schema,
    value_schema,
)
from loopwright.serving.http.media_type import ARROW_FILE, ARROW_STREAM, CSV, JSON, MULTIPART, PARQUET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.serving.doors.openapi_schema import Schema
    from loopwright.serving.predictor import Predictor

_TABLES = (ARROW_STREAM, ARROW_FILE, PARQUET, CSV)
_VERSION: Schema = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
}
_ASKING = [component("parameters", name) for name in ("RequestId", "ModelVersion", "Timeout", "Route")]
_ANY: Schema = {"type": "object"}


def responses(schema: Schema, *statuses: int, description: str = "The answer.") -> Schema:
    """Return the responses of a route: its answer, and the errors it may give."""
    found: Schema = {"200": {"description": description, "content": {JSON: {"schema": schema}}}}
    for status in statuses:
        found[str(status)] = component("responses", f"Error{status}")
    return found


def operation(tag: str, summary: str, answer: Schema, *, body: Schema | None = None, **more: object) -> Schema:
    """Return a route."""
    found: Schema = {"tags": [tag], "summary": summary, "responses": answer, **more}
    if body is not None:
        found["requestBody"] = {"required": True, "content": body}
    return found


def model_schemas(name: str, predictor: Predictor) -> dict[str, Schema]:
    """Return the schemas of a model by their names among the components."""
    row = component("schemas", f"{_id(name)}.Row")
    output = predictor.loaded.signature.output
    return {
        f"{_id(name)}.Row": row_schema(predictor),
        f"{_id(name)}.Request": rows_schema(row, predictor),
        f"{_id(name)}.Answer": answer_schema(output),
    }


def model_paths(name: str, predictor: Predictor) -> dict[str, Schema]:
    """Return the routes of a model."""
    place = quote(name, safe="")
    row, asked, answer = [component("schemas", f"{_id(name)}.{part}") for part in ("Row", "Request", "Answer")]
    output = predictor.loaded.signature.output
    columns: Schema = {"type": "object", "additionalProperties": {"type": "array"}}
    tables: dict[str, Schema] = {kind: {"schema": {}} for kind in _TABLES}
    answered = responses(answer, *_ASKED_ERRORS)
    answered["200"] = {
        "description": "Predictions, in the order of the rows; as a table where the caller accepts one.",
        "headers": {header: {"schema": TEXT} for header in ("x-model-version", "x-request-id")},
        "content": {JSON: {"schema": answer}, **tables},
    }
    form: Schema = {"type": "object", "properties": {field.name: {} for field in predictor.inputs}}
    rows_body: Schema = {JSON: {"schema": asked}, **tables, MULTIPART: {"schema": form}}
    split = object_of({"columns": list_of(TEXT), "data": list_of({"type": "array"})}, required=["columns", "data"])
    forms: Mapping[str, Schema] = {
        "dataframe_split": split,
        "dataframe_records": list_of(row, least=1),
        "instances": list_of(row, least=1),
        "inputs": columns,
    }
    example = {"examples": [{"dataframe_records": [row_example(predictor)]}]}
    mlflow: Schema = {"oneOf": [object_of({form: forms[form]}, required=[form]) for form in forms], **example}
    predictions: Schema = object_of({"predictions": list_of(value_schema(output))}, required=["predictions"])
    by_row = object_of({"instances": list_of(row, least=1)}, required=["instances"])
    by_column = object_of({"inputs": columns}, required=["inputs"])
    tf_body: Schema = {"oneOf": [by_row, by_column], "examples": [{"instances": [row_example(predictor)]}]}
    pinned = {"parameters": [*_ASKING, _VERSION]}
    infer: Schema = {JSON: {"schema": component("schemas", "InferenceRequest")}}
    inferred = responses(component("schemas", "InferenceResponse"), *_ASKED_ERRORS)
    tf_answer = responses({"anyOf": [object_of({name: {}}, required=[name]) for name in ("predictions", "outputs")]})
    tf_answer |= responses(_ANY, *_ASKED_ERRORS) | {"200": tf_answer["200"]}
    found = responses(_ANY, 401, 403, 404, 503)
    paths: dict[str, Schema] = {
        f"/predict/{place}": {"post": operation(name, "Predict rows", answered, body=rows_body, parameters=_ASKING)},
        f"/invocations/{place}": {
            "post": operation(
                name,
                "Predict as MLflow does",
                responses(predictions, *_ASKED_ERRORS),
                body={JSON: {"schema": mlflow}, CSV: {"schema": {}}, PARQUET: {"schema": {}}},
                parameters=_ASKING,
            )
        },
        f"/v1/models/{place}": {"get": operation(name, "Status, as TensorFlow Serving writes it", found)},
        f"/v1/models/{place}/metadata": {"get": operation(name, "Metadata, as TensorFlow Serving writes it", found)},
    }
    for part, extra in (("", {"parameters": _ASKING}), ("/versions/{version}", pinned)):
        asks = operation(name, "Predict as TensorFlow Serving does", tf_answer, body={JSON: {"schema": tf_body}})
        paths[f"/v1/models/{place}{part}:predict"] = {"post": {**asks, **extra}}
        asks = operation(name, "Infer, Open Inference Protocol v2", inferred, body=infer)
        paths[f"/v2/models/{place}{part}/infer"] = {"post": {**asks, **extra}}
        shown: Schema = {"parameters": [_VERSION]} if part else {}
        paths[f"/v2/models/{place}{part}"] = {"get": {**operation(name, "Metadata", found), **shown}}
        paths[f"/v2/models/{place}{part}/ready"] = {"get": {**operation(name, "Readiness", found), **shown}}
    outcome = component("schemas", "Outcome")
    told: Schema = {"anyOf": [object_of({"outcomes": list_of(outcome, least=1)}, required=["outcomes"]), outcome]}
    paths[f"/outcomes/{place}"] = {
        "post": operation(
            name,
            "Say what became of predictions",
            responses(object_of({"model": TEXT, "accepted": {"type": "integer"}}), 400, 401, 403, 404, 413, 503),
            body={JSON: {"schema": told}},
        )
    }
    return paths


_ASKED_ERRORS = (400, 401, 403, 404, 413, 415, 429, 500, 503, 504)


def _id(name: str) -> str:
    """Return a name as a component's may be."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
