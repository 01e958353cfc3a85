from __future__ import annotations

import base64
import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from loopwright.core.errors import FeatureError, InvalidRequestError
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.sources.push import push
from loopwright.features.assembly import FeatureAssembly, TransformCall, assembly_from_bytes, assembly_to_bytes
from loopwright.features.columns import from_arrow, model_input, scalar_columns, to_arrow
from loopwright.features.examples import read_training_set
from loopwright.features.field import Field
from loopwright.features.label import label
from loopwright.features.on_demand import on_demand
from loopwright.features.online import MemoryOnlineStore
from loopwright.features.request import RequestField
from loopwright.features.split import fraction
from loopwright.features.store import FeatureStore
from loopwright.features.training_spec import training_set_spec
from loopwright.features.view import feature_view

START = datetime(2026, 1, 1, tzinfo=UTC)
ALL_TYPES = [
    column("key", "string"),
    column("at", "timestamp"),
    column("who", "int"),
    column("a_float", "float"),
    column("a_maybe", "float", required=False),
    column("an_int", "int"),
    column("an_int_maybe", "int", required=False),
    column("a_bool", "bool"),
    column("a_bool_maybe", "bool", required=False),
    column("a_string", "string", required=False),
    column("a_category", "category", required=False),
    column("a_time", "timestamp", required=False),
    column("a_text", "text", required=False),
    column("y", "float"),
]
FEATURES = [item.name for item in ALL_TYPES[3:-1]]
raw = Dataset("raw", push(), event_time="at", key="key", contract=ALL_TYPES)
TYPES = {
    "a_float": pa.float64(),
    "a_maybe": pa.float64(),
    "an_int": pa.int64(),
    "an_int_maybe": pa.int64(),
    "a_bool": pa.bool_(),
    "a_bool_maybe": pa.bool_(),
    "a_string": pa.string(),
    "a_category": pa.string(),
    "a_time": pa.timestamp("us", tz="UTC"),
    "a_text": pa.string(),
}

floats = st.floats(-1e6, 1e6, width=64)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5).filter(
    lambda t: t.strip() == t
)
raw_rows = st.lists(
    st.fixed_dictionaries(
        {
            "a_float": floats,
            "a_maybe": st.none() | floats,
            "an_int": st.integers(-(2**40), 2**40),
            "an_int_maybe": st.none() | st.integers(-(2**40), 2**40),
            "a_bool": st.booleans(),
            "a_bool_maybe": st.none() | st.booleans(),
            "a_string": st.none() | texts,
            "a_category": st.sampled_from([None, "x", "y", "z"]),
            "a_time": st.none() | moments,
            "a_text": st.none() | st.sampled_from(["sha256:" + "0" * 64, "æ"]) | texts,
        }
    ),
    min_size=8,
    max_size=12,
)


def mixed(a_float, an_int_maybe, a_bool_maybe, a_category, a_time, a_text):
    """Everything a transform may get: NaN, None and NaT among it."""
    late = np.where(np.isnat(a_time), 0.0, a_time.astype(np.int64) % 1000)
    seen = np.array([0.0 if value is None else len(value) for value in a_category])
    long = np.array([0.0 if value is None else len(value) for value in a_text])
    parts = [a_float, np.nan_to_num(an_int_maybe), np.nan_to_num(a_bool_maybe, nan=2.0), seen, late, long]
    return np.stack(parts, axis=1)


def as_json(row):
    sent = {name: value for name, value in row.items() if value is not None}
    if "a_time" in sent:
        sent["a_time"] = sent["a_time"].isoformat()
    return sent


def build(stores, lake, rows, features, salt):
    dataset = Dataset(f"raw{salt}", push(), event_time="at", key="key", contract=ALL_TYPES)
    table = pa.table(
        {
            "key": [f"k{index}" for index in range(len(rows))],
            "at": pa.array(
                [START + timedelta(hours=index) for index in range(len(rows))], pa.timestamp("us", tz="UTC")
            ),
            "who": [index % 3 for index in range(len(rows))],
            **{name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()},
            "y": [float(index) for index in range(len(rows))],
        }
    )
    snapshots = {dataset.name: lake.add(dataset, table)}
    chosen = features(dataset)
    spec = training_set_spec(
        "m", label=label(dataset.y, arrives_after="1h"), features=chosen, holdout=fraction(0.5, seed=1)
    )
    store = FeatureStore(stores, lake, MemoryOnlineStore())
    record = store.training_set(spec, snapshots, START + timedelta(days=3))
    return store, spec, record, snapshots, dataset


counter = iter(range(10**6))


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(raw_rows)
def test_requests_give_what_training_had(stores, lake, rows):
    def features(dataset):
        inputs = [
            dataset[name] for name in ("a_float", "an_int_maybe", "a_bool_maybe", "a_category", "a_time", "a_text")
        ]
        return [*(dataset[name] for name in FEATURES), on_demand(mixed, *inputs, batch_rows=3)]

    store, spec, record, _, _ = build(stores, lake, rows, features, next(counter))
    train = read_training_set(record.train_path(stores), record.feature_fields, record.label_field)
    assembly = assembly_from_bytes(assembly_to_bytes(store.assembly(spec, record)))
    sent = [as_json(rows[int(key[1:])]) for key in train.keys]
    together = assembly.assemble(sent)
    pd.testing.assert_frame_equal(together.X, train.X)
    for index, row in enumerate(sent):
        alone = assembly.assemble([row]).X
        pd.testing.assert_frame_equal(alone, train.X.iloc[[index]].reset_index(drop=True))


def test_view_values_come_from_the_online_store_in_one_call(stores, lake):
    rows = [
        {**dict.fromkeys(TYPES), "a_float": float(i), "an_int": i, "a_bool": True, "a_category": "xyz"[i % 3]}
        for i in range(40)
    ]

    def last(raw):
        return raw.select("who", "at", f=raw.a_float, c=raw.a_category, t=raw.at)

    def features(dataset):
        return [dataset.an_int, feature_view(last, dataset, entity="who", ttl="30d")]

    store, spec, record, snapshots, _ = build(stores, lake, rows, features, "v")
    (view,) = spec.views
    store.materialize(view, snapshots, labels=(spec.label,), until=START + timedelta(days=3))
    calls = []
    online = store.online
    read = online.read_many
    online.read_many = lambda *arguments, **named: calls.append(1) or read(*arguments, **named)
    assembly = assembly_from_bytes(assembly_to_bytes(store.assembly(spec, record)))
    assert assembly.needs_online
    assert [field.name for field in assembly.inputs] == ["an_int", "who"]
    X, served = assembly.assemble(
        [{"an_int": 5, "who": 0}, {"an_int": 6, "who": 2}, {"an_int": 7, "who": 9}], online, START + timedelta(days=3)
    )
    assert len(calls) == 1
    assert list(X.columns) == ["an_int", "f", "c", "t"]
    assert X["f"].tolist()[:2] == [39.0, 38.0]
    assert np.isnan(X["f"][2])
    assert X["c"].tolist()[:2] == ["x", "z"]
    assert X["t"][0].to_pydatetime() == START + timedelta(hours=39)
    assert served[0] == {"an_int": 5, "f": 39.0, "c": "x", "t": "2026-01-02T15:00:00.000000Z"}
    assert served[2] == {"an_int": 7, "f": None, "c": None, "t": None}
    train = read_training_set(record.train_path(stores), record.feature_fields, record.label_field)
    assert list(X.dtypes) == list(train.X.dtypes)
    with pytest.raises(FeatureError, match="none was given"):
        assembly.assemble([{"an_int": 5, "who": 0}])


def field_error(field, value):
    assembly = FeatureAssembly((field,), (Field(field.name, "float64"),))
    good = {"float": 1.0, "int": 1, "bool": True, "timestamp": "2026-01-01", "image": b"", "category": "a"}[field.type]
    with pytest.raises(InvalidRequestError) as caught:
        assembly.assemble([{field.name: good}, {field.name: value} if value is not Ellipsis else {}])
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("float", "3", "Row 1: the field 'x' must be a number, got str '3'."),
        ("float", True, "must be a number, got bool True"),
        ("float", [1], "must be a number, got list [1]"),
        ("float", None, "Row 1: the field 'x' is null; expected a number."),
        ("float", ..., "Row 1: the field 'x' is missing; expected a number."),
        ("int", 1.5, "must be a whole number, got float 1.5"),
        ("int", 2**70, "too large"),
        ("bool", 1, "must be true or false, got int 1"),
        ("category", 7, "must be a text, got int 7"),
        ("timestamp", "yesterday", "must be a time such as 2026-01-31T12:00:00Z, got str 'yesterday'"),
        ("timestamp", 5, "must be a time"),
        ("image", "not base64!", "must be bytes, or base64 text, got str 'not base64!'"),
        ("image", 5, "must be bytes"),
    ],
)
def test_a_wrong_value_is_named_with_its_row(kind, value, expected):
    assert expected in field_error(RequestField("x", kind), value)


def test_whole_requests_that_cannot_be():
    assembly = FeatureAssembly((RequestField("x", "float"),), (Field("x", "float64"),), known=frozenset({"city"}))
    with pytest.raises(InvalidRequestError, match="no rows"):
        assembly.assemble([])
    with pytest.raises(InvalidRequestError, match="Row 1 must be an object with fields, got int"):
        assembly.assemble([{"x": 1}, 5])
    assert assembly.assemble([{"x": 1, "city": "Oslo", "b": 1}, {"x": 2, "a": 1}]).ignored == ("a", "b")


def test_an_image_that_cannot_be_read_is_the_request_s_fault_and_a_transform_that_raises_is_not():
    def width(images):
        return np.array([float(Image.open(io.BytesIO(image)).width) for image in images])

    def fails(images):
        raise ZeroDivisionError

    picture = io.BytesIO()
    Image.effect_noise((50, 50), 9).save(picture, "PNG")
    field = Field("width", "float64", origin="transform")

    def assembly(function):
        call = TransformCall("width", ("image",), function, 10, field)
        return FeatureAssembly((RequestField("image", "image"),), (field,), transforms=(call,))

    good = picture.getvalue()
    assert assembly(width).assemble([{"image": good}]).columns["width"].tolist() == [50.0]
    for bad, said in ((b"no picture", "10 bytes that are no image"), (good[:500], "damaged image")):
        with pytest.raises(InvalidRequestError, match=said) as caught:
            assembly(width if bad == b"no picture" else fails).assemble([{"image": good}, {"image": bad}])
        assert (caught.value.field, caught.value.row) == ("image", 1)
    with pytest.raises(FeatureError, match="ZeroDivisionError"):
        assembly(fails).assemble([{"image": good}])


def test_images_as_bytes_and_base64():
    def first(image):
        return np.array([[data[0], data[1]] for data in image])

    field = Field("first", "float32", shape=(2,), origin="transform")
    assembly = FeatureAssembly(
        (RequestField("image", "image"),), (field,), transforms=(TransformCall("first", ("image",), first, 10, field),)
    )
    X, served = assembly.assemble([{"image": bytes([1, 2])}, {"image": base64.b64encode(bytes([3, 4])).decode()}])
    assert X.tolist() == [[1, 2], [3, 4]]
    assert served[1] == {"first": [3, 4], "first.mean": 3.5, "first.std": 0.5, "first.min": 3, "first.max": 4}
    with pytest.raises(InvalidRequestError, match="must be an image, got 0 bytes"):
        assembly.assemble([{"image": b""}])


def test_long_arrays_are_summarised():
    field = Field("pixels", "float32", shape=(10, 10))
    columns = {"pixels": np.arange(200, dtype=np.float32).reshape(2, 10, 10)}
    assert sorted(scalar_columns(columns, [field])) == ["pixels.max", "pixels.mean", "pixels.min", "pixels.std"]
    assembly = FeatureAssembly((RequestField("p", "float"),), (field,))
    assert assembly.fields == (field,)


def test_arrays_beside_scalars_become_columns():
    fields = [Field("a", "float64"), Field("v", "float32", shape=(2,))]
    X = model_input({"a": np.array([1.0]), "v": np.array([[2.0, 3.0]], np.float32)}, fields)
    assert X.to_dict("list") == {"a": [1.0], "v_0": [2.0], "v_1": [3.0]}


@given(st.lists(st.none() | st.sampled_from(["a", "b", "c"])))
def test_categories_survive_storage(values):
    field = Field("c", "category", categories=("a", "b"))
    codes = from_arrow(pa.chunked_array([pa.array(values, pa.string())]), field)
    assert codes.tolist() == [{"a": 0, "b": 1}.get(value, -1) for value in values]
    assert to_arrow(codes, field).to_pylist() == [value if value in ("a", "b") else None for value in values]


PROJECT = """
import numpy as np
import steps_of_mine.sizes
import shapes

SCALE = 10.0

def scaled(x):
    return shapes.column(x) * SCALE * steps_of_mine.sizes.DOUBLE
"""


def test_a_project_s_functions_travel_by_value(tmp_path, monkeypatch):
    (tmp_path / "my_loop.py").write_text(PROJECT)
    (tmp_path / "shapes.py").write_text("def column(x):\n    return x.reshape(-1, 1)\n")
    (tmp_path / "steps_of_mine").mkdir()
    (tmp_path / "steps_of_mine" / "__init__.py").write_text("")
    (tmp_path / "steps_of_mine" / "sizes.py").write_text("DOUBLE = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_loop  # noqa: PLC0415 - written above

    field = Field("scaled", "float32", shape=(1,), origin="transform")
    call = TransformCall("scaled", ("x",), my_loop.scaled, 10, field)
    data = assembly_to_bytes(FeatureAssembly((RequestField("x", "float"),), (field,), transforms=(call,)))
    (tmp_path / "assembly").write_bytes(data)
    code = (
        "import sys; from pathlib import Path; from loopwright.features.assembly import assembly_from_bytes; "
        "print(assembly_from_bytes(Path(sys.argv[1]).read_bytes()).assemble([{'x': 2.0}]).X.tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "assembly"], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout.strip() == "[[40.0]]"


def test_only_an_assembly_is_loaded():
    import cloudpickle  # noqa: PLC0415

    with pytest.raises(FeatureError, match="hold a dict"):
        assembly_from_bytes(cloudpickle.dumps({}))
