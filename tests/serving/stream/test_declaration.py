"""What ``lw.stream`` takes, and values of other formats."""

from __future__ import annotations

import io
import json

import pytest

import loopwright as lw
from loopwright.core.errors import DeclarationError, InvalidRequestError
from loopwright.data.sources.record_format import record_format
from loopwright.serving.stream.rows import JsonRows, reader_of


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"topic": ""}, "name of a topic"),
        ({"topic": "a", "to": "a"}, "must differ"),
        ({"topic": "a", "start": "now"}, "earliest"),
        ({"topic": "a", "max_rows": 0}, "takes nothing"),
        ({"topic": "a", "metrics_port": 70_000}, "no port"),
        ({"topic": "a", "failures_in_a_row": 0}, "never answer"),
        ({"topic": "a", "format": "avro"}, "schema"),
    ],
)
def test_refuses_what_does_not_go_together(options, said):
    with pytest.raises(DeclarationError, match=said):
        lw.stream(**options)


def test_names_its_topics():
    declared = lw.stream("orders", to="answers", key="order_id", max_size="1MB")
    assert (declared.to, declared.dead_letter, declared.max_bytes) == ("answers", "orders.dead", 1_000_000)


def test_json_rows_keep_their_types_and_fail_alone():
    row, broken, other = JsonRows().read([b'{"a": 1, "b": [2.5, null, "x"]}', b"{", b"3"])
    assert row == {"a": 1, "b": [2.5, None, "x"]}
    assert all(isinstance(one, InvalidRequestError) for one in (broken, other))


def test_avro_rows(tmp_path):
    fastavro = pytest.importorskip("fastavro", reason="the extra avro is not installed")
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": "double"}]}
    (tmp_path / "r.avsc").write_text(json.dumps(schema))
    value = io.BytesIO()
    fastavro.schemaless_writer(value, schema, {"x": 2.5})
    record = record_format("stream", format="avro", schema="r.avsc", message=None, framed=False, attributes=())
    row, broken = reader_of(record, tmp_path).read([value.getvalue(), b"\x01"])
    assert row == {"x": 2.5}
    assert isinstance(broken, InvalidRequestError)
