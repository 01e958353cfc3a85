"""MLflow's and TensorFlow Serving's routes, answers in the type that was accepted, CORS and errors without detail."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.serving.doors_in_process import LISTS, ROWS, Churn, Houses, doors

ARROW, PARQUET, CSV = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet", "text/csv"


@pytest.fixture
def serve(tmp_path, clock, ids):
    with doors(tmp_path, clock, ids) as make:
        yield make


# MLflow's forms, as its documentation and its client write them.


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"index": [0, 1], "columns": ["months", "spend", "plan"], "data": LISTS}},
        {"dataframe_split": {"columns": ["plan", "months", "spend"], "data": [["basic", 3, 1.5], [None, 30, None]]}},
        {"dataframe_split": {"data": LISTS}},
        {"dataframe_records": ROWS},
        {"instances": ROWS},
        {"instances": LISTS},
        {"inputs": {"months": [3, 30], "spend": [1.5, None], "plan": ["basic", None]}},
        {"inputs": ROWS},
    ],
)
def test_mlflow_forms_are_the_same_rows(serve, body):
    served = serve()
    expected = served.post("/predict/churn", ROWS)[1]["predictions"]
    assert served.post("/invocations", body) == (200, {"predictions": expected})
    assert served.post("/invocations/churn", body)[1]["predictions"] == expected


def test_mlflow_params_are_ignored_with_a_note(serve):
    status, document = serve().post("/invocations", {"dataframe_records": ROWS, "params": {"temperature": 1}})
    assert status == 200
    assert "'params' was ignored" in document["note"]


def test_the_nan_of_python_clients_is_a_missing_value(serve):
    served = serve()
    expected = served.post("/predict/churn", ROWS)[1]["predictions"]
    body = (
        b'{"dataframe_split": {"columns": ["months", "spend", "plan"], "data": [[3, 1.5, "basic"], [30, NaN, null]]}}'
    )
    assert served.post("/invocations", body) == (200, {"predictions": expected})
    assert served.post("/v1/models/churn:predict", b'{"instances": [{"months": 3, "spend": NaN}]}')[0] == 200
    assert served.post("/invocations", b'{"instances": [NaN')[0] == 400


def test_mlflow_csv_and_one_row_of_inputs(serve):
    served = serve()
    assert served.post("/invocations", b"months,spend,plan\n3,1.5,basic\n", content_type=CSV)[0] == 200
    assert served.post("/invocations", {"inputs": {"months": 3}})[0] == 200
    assert serve({"houses": [Houses()]}).post("/invocations", {"inputs": [1.5, 2]})[1] == {"predictions": [3.0, 4.0]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "must be an object"),
        ({}, "exactly one of"),
        ({"inputs": [[3, 1, None]], "instances": []}, "exactly one of"),
        ({"dataframe_split": []}, "with 'data' as a list"),
        ({"dataframe_split": {"columns": "months", "data": []}}, "list of names"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, "twice"),
        ({"dataframe_records": [[3, 1, None]]}, "list of objects"),
        ({"instances": {}}, "must be a list"),
        ({"instances": []}, "no rows"),
        ({"inputs": {"months": [1], "spend": [1, 2]}}, "2 values for 1 rows"),
        ({"instances": [{"spend": 1}]}, "months"),
    ],
)
def test_what_is_no_mlflow_form_says_so(serve, body, said):
    status, document = serve().post("/invocations", body)
    assert status == 400
    assert said in document["error"]


def test_mlflow_names_the_model_where_there_are_several(serve):
    served = serve({"churn": [Churn()], "houses": [Houses()]})
    status, document = served.post("/invocations", {"inputs": [1]})
    assert (status, "/invocations/houses" in document["error"]) == (404, True)
    assert served.post("/invocations/houses", {"inputs": [1]})[1] == {"predictions": [2.0]}


def test_mlflow_health(serve):
    served = serve()
    assert [served.ask("GET", path).status for path in ("/ping", "/health", "/version")] == [200, 200, 200]
    assert served.ask("GET", "/version").body == b"9.9"
    assert served.ask("POST", "/ping").status == 405
    assert served.ask("GET", "/ping/else").status == 404


# TensorFlow Serving's forms, as its documentation writes them.


def test_tf_serving_rows_and_columns(serve):
    served = serve({"houses": [Houses()]})
    path = "/v1/models/houses:predict"
    for body in ({"instances": [1.0, 2.5]}, {"instances": [[1.0], [2.5]]}, {"instances": [{"x": 1}, {"x": [2.5]}]}):
        assert served.post(path, {"signature_name": "serving_default", **body}) == (200, {"predictions": [2.0, 5.0]})
    for body in ({"inputs": [[1.0], [2.5]]}, {"inputs": {"x": [1.0, 2.5]}}, {"inputs": {"x": [[1.0], [2.5]]}}):
        assert served.post(path, body) == (200, {"outputs": [2.0, 5.0]})


def test_tf_serving_classifiers_answer_two_outputs(serve):
    served = serve()
    expected = served.post("/predict/churn", ROWS)[1]
    pairs = zip(expected["predictions"], expected["probabilities"], strict=True)
    document = served.post("/v1/models/churn:predict", {"instances": ROWS})[1]
    assert document == {"predictions": [{"predict": value, "predict_proba": row} for value, row in pairs]}
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    document = served.post("/v1/models/churn/versions/1:predict", {"inputs": columns})[1]
    assert document["outputs"]["predict"] == expected["predictions"]
    assert document["outputs"]["predict_proba"] == expected["probabilities"]


def test_tf_serving_versions_labels_status_and_metadata(serve):
    served = serve({"churn": [Churn(1), Churn(2)]})
    for place, version in (("versions/2", "2"), ("labels/stable", "1"), ("labels/challenger", "2")):
        answer = served.ask("POST", f"/v1/models/churn/{place}:predict", {"instances": ROWS})
        assert dict(answer.headers)[b"x-model-version"] == version.encode()
    status = json.loads(served.ask("GET", "/v1/models/churn").body)["model_version_status"]
    ok = {"error_code": "OK", "error_message": ""}
    assert status == [{"version": number, "state": "AVAILABLE", "status": ok} for number in ("2", "1")]
    metadata = json.loads(served.ask("GET", "/v1/models/churn/versions/2/metadata").body)
    assert metadata["model_spec"] == {"name": "churn", "signature_name": "", "version": "2"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["months"]["dtype"] == "DT_INT64"
    assert signature["outputs"]["predict_proba"]["tensor_shape"]["dim"][1]["size"] == "2"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/v1/models/none:predict", {}, 404, "no model"),
        ("POST", "/v1/models/churn:classify", {}, 404, "nothing at"),
        ("POST", "/v1/models/churn/labels/old:predict", {}, 404, "label"),
        ("POST", "/v1/models/churn/versions/x:predict", {}, 404, "no version number"),
        ("POST", "/v1/models/churn/versions/9:predict", {"instances": ROWS}, 404, "9"),
        ("GET", "/v1/models/churn:predict", {}, 405, "POST"),
        ("GET", "/v1/models/churn/versions/9", {}, 404, "not being served"),
        ("GET", "/v1/else", {}, 404, "nothing at"),
        ("POST", "/v1/models/churn:predict", [], 400, "must be an object"),
        ("POST", "/v1/models/churn:predict", {}, 400, "either"),
        ("POST", "/v1/models/churn:predict", {"instances": [], "inputs": []}, 400, "either"),
        ("POST", "/v1/models/churn:predict", {"instances": {}}, 400, "must be a list"),
        ("POST", "/v1/models/churn:predict", {"instances": []}, 400, "no rows"),
        ("POST", "/v1/models/churn:predict", {"instances": [1]}, 400, "Row 0"),
        ("POST", "/v1/models/churn:predict", {"signature_name": "x", "instances": ROWS}, 400, "signature"),
    ],
)
def test_tf_serving_errors(serve, method, path, body, status, said):
    answer = serve().ask(method, path, body)
    assert answer.status == status
    assert said in json.loads(answer.body)["error"]


# One table, sent in every way: the same answers.

rows_of_churn = st.lists(
    st.fixed_dictionaries(
        {
            "months": st.integers(-1000, 1000),
            "spend": st.none() | st.floats(-1e6, 1e6),
            "plan": st.none() | st.sampled_from(["basic", "full", "other", ""]),
        }
    ),
    min_size=1,
    max_size=5,
)
SCHEMA = pa.schema({"months": pa.int64(), "spend": pa.float64(), "plan": pa.string()})


@given(rows_of_churn)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_table_sent_in_every_way_has_the_same_answers(serve, rows):
    served = serve()
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    status, expected = served.post("/predict/churn", {"rows": rows})
    assert status == 200
    arrow, parquet, text = pa.BufferOutputStream(), pa.BufferOutputStream(), pa.BufferOutputStream()
    with pa.ipc.new_stream(arrow, SCHEMA) as writer:
        writer.write_table(table)
    pq.write_table(table, parquet)
    pyarrow.csv.write_csv(table, text)
    columns = table.to_pydict()
    lists = [[row[name] for name in SCHEMA.names] for row in rows]
    bodies = [
        (arrow.getvalue().to_pybytes(), {"content_type": ARROW}),
        (parquet.getvalue().to_pybytes(), {"content_type": PARQUET}),
        (text.getvalue().to_pybytes(), {"content_type": CSV}),
        (gzip.compress(json.dumps(rows).encode()), {"content_encoding": "gzip"}),
        (pa.compress(json.dumps(lists).encode(), "zstd", asbytes=True), {"content_encoding": "zstd"}),
        ({"columns": list(columns), "data": lists}, {}),
        ({"columns": columns}, {}),
    ]
    for body, headers in bodies:
        status, document = served.post("/predict/churn", body, **headers)
        assert status == 200, (headers, document)
        assert document["predictions"] == expected["predictions"], headers
        assert document["probabilities"] == expected["probabilities"], headers


def test_the_answer_comes_in_the_type_that_is_accepted(serve):
    served = serve()
    rows = [{**row, "more": 1} for row in ROWS]
    expected = served.post("/predict/churn", rows)[1]
    assert expected["ignored"] == ["more"]
    assert b'loopwright_rows_with_ignored_fields_total{model="churn"} 2.0' in served.metrics.exposition()

    answer = served.ask("POST", "/predict/churn", rows, accept=ARROW)
    assert answer.content_type == ARROW.encode()
    headers = dict(answer.headers)
    assert headers[b"x-ignored-fields"] == b"more"
    assert headers[b"x-model-version"] == b"1"
    table = pa.ipc.open_stream(answer.body).read_all()
    assert table.column_names == ["prediction_id", "prediction", "probability_stay", "probability_leave"]
    assert table["prediction"].to_pylist() == expected["predictions"]
    assert table["probability_leave"].to_pylist() == [row[1] for row in expected["probabilities"]]
    assert table.schema.metadata[b"version"] == b"1"

    parquet = served.ask("POST", "/predict/churn", rows, accept=f"text/html, {PARQUET};q=0.9, */*;q=0.1")
    assert pq.read_table(pa.BufferReader(parquet.body))["prediction"].to_pylist() == expected["predictions"]
    text = served.ask("POST", "/predict/churn", rows, accept=CSV)
    assert text.content_type == b"text/csv; charset=utf-8; header=present"
    assert text.body.decode().splitlines()[0] == '"prediction_id","prediction","probability_stay","probability_leave"'
    assert len(text.body.decode().splitlines()) == 3
    for accept in ("*/*", "application/json", "text/html"):
        assert served.ask("POST", "/predict/churn", rows, accept=accept).content_type == b"application/json"


def test_large_bodies_are_read_beside_the_event_loop(serve):
    served = serve({"houses": [Houses()]})
    rows = [{"x": number} for number in range(20_000)]
    status, document = served.post("/predict/houses", rows)
    assert (status, document["predictions"][-1]) == (200, 39998.0)
    assert served.post("/predict/houses", b"[" + b" " * 100_000)[0] == 400


KINDS = [None, "application/json", ARROW, PARQUET, CSV, "multipart/form-data; boundary=x", "image/png", "text/html"]
PATHS = ["/predict/churn", "/invocations", "/v1/models/churn:predict", "/predict/churn/more", "/v1/models/churn"]
fragments = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b'"rows"',
        b'"instances"',
        b'"inputs"',
        b":",
        b",",
        b"1",
        b"null",
        b'"months"',
        b"\n",
        b"--x",
    ]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda values: (
        st.lists(values, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["rows", "columns", "data", "instances", "inputs", "dataframe_split", "months", "b64", "keys"]
            ),
            values,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(PATHS),
    st.binary(max_size=100)
    | st.lists(fragments, max_size=20).map(b"".join)
    | json_values.map(lambda v: json.dumps(v).encode()),
    st.sampled_from(KINDS),
    st.sampled_from([None, "gzip", "zstd", "br"]),
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_makes_the_server_fail(fuzzed, path, body, kind, encoding):
    headers = {}
    if kind is not None:
        headers["content_type"] = kind
    if encoding is not None:
        headers["content_encoding"] = encoding
    answer = fuzzed.ask("POST", path, body, **headers)
    assert answer.status < 500, answer.body
    json.loads(answer.body)


@pytest.fixture
def fuzzed(serve):
    return serve()
