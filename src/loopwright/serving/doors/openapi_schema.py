"""JSON Schemas of what a served model takes and answers, from its request fields and its signature.

Examples have the shape of the rows and made-up values: no value of any row that the model has seen is shown, and of
fields that the dataset hashes or masks no category either.

Source: JSON Schema 2020-12, the dialect of OpenAPI 3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.features.field import Field
    from loopwright.features.request import RequestField
    from loopwright.registry.signature import OutputSpec
    from loopwright.serving.predictor import Predictor

Schema: TypeAlias = "dict[str, object]"

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
_INT64 = {"minimum": -(2**63), "maximum": 2**63 - 1}
_TYPES: Mapping[str, Schema] = {
    "float": NUMBER,
    "int": {"type": "integer", **_INT64},
    "bool": {"type": "boolean"},
    "string": TEXT,
    "text": TEXT,
    "category": TEXT,
    "timestamp": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
    "image": {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"},
    "audio": {"type": "string", "contentEncoding": "base64", "contentMediaType": "audio/*"},
}
_EXAMPLES: Mapping[str, object] = {
    "float": 1.5,
    "int": 1,
    "bool": True,
    "string": "text",
    "text": "text",
    "category": "text",
    "timestamp": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "image": "iVBORw0KGgo=",
    "audio": "UklGRg==",
}
_OUTPUTS: Mapping[str, Schema] = {
    "float64": NUMBER,
    "int64": {"type": "integer"},
    "bool": {"type": "boolean"},
}


def row_schema(predictor: Predictor) -> Schema:
    """Return the schema of one row; other fields may stand in it, and are ignored."""
    known = {field.name: field for field in predictor.assembly.fields if field.origin == "column"}
    properties = {field.name: field_schema(field, known.get(field.name)) for field in predictor.inputs}
    required = [field.name for field in predictor.inputs if field.required]
    schema: Schema = {"type": "object", "properties": properties, "examples": [row_example(predictor)]}
    return {**schema, "required": required} if required else schema


def field_schema(field: RequestField, known: Field | None) -> Schema:
    """Return the schema of a field.

    Args:
        field: What a request has.
        known: What the model gets of it, with the categories of training; None where it gets it otherwise.
    """
    schema = dict(_TYPES[field.type])
    if known is not None and known.categories and field.hidden is None:
        schema["enum"] = list(known.categories)
        schema["description"] = "Another value is taken as missing."
    for length in reversed(field.shape):
        schema = {"type": "array", "items": schema, "minItems": length, "maxItems": length}
    if field.required:
        return schema
    if "enum" in schema:
        schema["enum"] = [*cast("list[object]", schema["enum"]), None]
    return {**schema, "type": [schema["type"], "null"]}


def row_example(predictor: Predictor) -> dict[str, object]:
    """Return a made-up row of the right shape."""
    known = {field.name: field for field in predictor.assembly.fields if field.origin == "column"}
    row: dict[str, object] = {}
    for field in predictor.inputs:
        categories = known[field.name].categories if field.name in known and field.hidden is None else ()
        value = categories[0] if categories else _EXAMPLES[field.type]
        for length in reversed(field.shape):
            value = [value] * length
        row[field.name] = value
    return row


def component(kind: str, name: str) -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def list_of(items: Schema, *, least: int = 0) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items, "minItems": least} if least else {"type": "array", "items": items}


def object_of(properties: Mapping[str, Schema], *, required: Sequence[str] = ()) -> Schema:
    """Return the schema of an object with these fields, and perhaps others."""
    schema: Schema = {"type": "object", "properties": dict(properties)}
    return {**schema, "required": list(required)} if required else schema


def rows_schema(row: Schema, predictor: Predictor) -> Schema:
    """Return the schema of the JSON bodies of ``/predict``."""
    names = [field.name for field in predictor.inputs]
    lists = list_of({"type": "array", "minItems": len(names), "maxItems": len(names)}, least=1)
    keys = list_of({"type": ["string", "null"]})
    rows = list_of(row, least=1)
    named: Schema = {"type": "array", "items": {"enum": names}, "uniqueItems": True, "minItems": len(names)}
    return {
        "anyOf": [
            object_of({"rows": rows, "keys": keys}, required=["rows"]),
            {**object_of({"columns": named, "data": lists, "keys": keys}, required=["columns", "data"])},
            rows,
            row,
        ],
        "examples": [{"rows": [row_example(predictor)]}],
    }


def value_schema(output: OutputSpec) -> Schema:
    """Return the schema of one predicted value."""
    schema = dict(_OUTPUTS.get(output.dtype, TEXT))
    return schema if output.classes is None else {**schema, "enum": list(output.classes)}


def answer_schema(output: OutputSpec) -> Schema:
    """Return the schema of the answers of ``/predict``."""
    properties: dict[str, Schema] = {
        "model": TEXT,
        "version": {"type": "integer", "minimum": 1},
        "predictions": list_of(value_schema(output), least=1),
        "prediction_ids": list_of(TEXT, least=1),
        "ignored": list_of(TEXT),
    }
    required = ["model", "version", "predictions", "prediction_ids"]
    if output.probabilities:
        properties["probabilities"] = list_of(list_of(NUMBER), least=1)
        properties["classes"] = list_of(dict(_OUTPUTS.get(output.dtype, TEXT)))
        required += ["probabilities", "classes"]
    return object_of(properties, required=required)
