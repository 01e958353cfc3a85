"""Answers of ``/predict``: JSON, or a table with one row per row where the caller accepts Arrow, Parquet or CSV.

A table has the columns ``prediction_id``, ``prediction`` and, where the model gives probabilities, one column
``probability_<class>`` per class. Model and version stand in its metadata (Arrow, Parquet) and always in the headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from loopwright.serving.doors.door_answer import served_headers
from loopwright.serving.http.media_type import ARROW_FILE, ARROW_STREAM, CSV, JSON, PARQUET, accepted
from loopwright.serving.http.message import HttpResponse, json_response

if TYPE_CHECKING:
    from loopwright.serving.bodies.rows_body import RowsBody
    from loopwright.serving.calls.inference_call import Served

OFFERED = (JSON, ARROW_STREAM, ARROW_FILE, PARQUET, CSV)
_VARY = (b"vary", b"accept")
_ID, _PREDICTION, _PROBABILITY = "prediction_id", "prediction", "probability_"


def rows_response(served: Served, asked: RowsBody) -> HttpResponse:  # noqa: ARG001 - a form of a door
    """Write an answer as JSON."""
    answers = served.answers
    document: dict[str, object] = {
        "model": served.model,
        "version": served.version,
        "predictions": answers.values,
    }
    if answers.probabilities is not None:
        document["probabilities"] = answers.probabilities
        document["classes"] = answers.classes
    document["prediction_ids"] = served.prediction_ids
    if answers.ignored:
        document["ignored"] = answers.ignored
    return json_response(document, headers=served_headers(served))


def accepted_response(served: Served, asked: RowsBody, *, accept: str | None) -> HttpResponse:
    """Write an answer as the type that an ``Accept`` header wants; JSON where it wants none of ours."""
    kind = accepted(accept, OFFERED)
    if kind == JSON:
        return rows_response(served, asked)
    table = answer_table(served)
    sink = pa.BufferOutputStream()
    if kind == PARQUET:
        pq.write_table(table, sink, compression="zstd")
    elif kind == CSV:
        csv.write_csv(table, sink, csv.WriteOptions(quoting_style="needed"))
    else:
        make = pa.ipc.new_file if kind == ARROW_FILE else pa.ipc.new_stream
        with make(sink, table.schema) as writer:
            writer.write_table(table)
    headers = [*served_headers(served), _VARY]
    if served.answers.ignored:
        names = ",".join(quote(name, safe=" ") for name in served.answers.ignored)
        headers.append((b"x-ignored-fields", names.encode()))
    written = b"text/csv; charset=utf-8; header=present" if kind == CSV else kind.encode()
    return HttpResponse(200, sink.getvalue().to_pybytes(), content_type=written, headers=headers)


def answer_table(served: Served) -> pa.Table:
    """Return an answer as a table, one row per row of the request."""
    answers = served.answers
    columns = {_ID: pa.array(served.prediction_ids), _PREDICTION: pa.array(answers.values)}
    if answers.probabilities is not None:
        matrix = np.array(answers.probabilities, dtype=np.float64)
        for place, label in enumerate(answers.classes or ()):
            columns[f"{_PROBABILITY}{label}"] = pa.array(matrix[:, place])
    metadata = {"model": served.model, "version": str(served.version), "request_id": served.request_id}
    return pa.table(columns, metadata=metadata)
