from __future__ import annotations

import pyarrow as pa
import pytest

from loopwright.core.errors import InvalidRequestError
from loopwright.serving.pushed_body import read_batch

ARROW = "application/vnd.apache.arrow.stream"


def stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("body", [b'[{"a":1},{"":1}]', b'[{"a":1},{"b":[{"c":{"" : 1}}]}]', b'[{},{"a\\u0000":1}]'])
def test_a_field_without_a_usable_name_is_refused_by_row(body):
    with pytest.raises(InvalidRequestError, match="empty name") as raised:
        read_batch(body, None, None)
    assert raised.value.row == 1


@pytest.mark.parametrize("table", [pa.table({"": [1]}), pa.table({"a": [[{"": 1}]]})])
def test_a_column_without_a_name_is_refused(table):
    with pytest.raises(InvalidRequestError, match="empty name"):
        read_batch(stream(table), ARROW, None)


@pytest.mark.parametrize("body", [b'[{"a\\"":1}]', b'[{"a":"\\u0000"}]', b'[{"a":""}]'])
def test_values_may_be_what_names_may_not(body):
    assert read_batch(body, None, None)[1] == 1


def test_a_table_with_names_is_read():
    assert read_batch(stream(pa.table({"a": [[{"b": 1}]]})), ARROW, None)[1] == 1
