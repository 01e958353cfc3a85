from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import InvalidRequestError, RequestError, TooLargeError, UnsupportedMediaError
from loopwright.features.request import RequestField
from loopwright.serving.bodies.rows_body import read_rows
from loopwright.serving.http.message import decode_json

INPUTS = (RequestField("x", "float"), RequestField("city", "string"))
IMAGE = (RequestField("image", "image"), RequestField("x", "float", required=False))
ROWS = [{"x": 1, "city": "Oslo"}, {"x": 2, "city": "Bergen"}]


@pytest.mark.parametrize(
    "body",
    [
        b'{"rows":[{"x":1,"city":"Oslo"},{"x":2,"city":"Bergen"}]}',
        b'[{"x":1,"city":"Oslo"},{"x":2,"city":"Bergen"}]',
        b'{"columns":["x","city"],"data":[[1,"Oslo"],[2,"Bergen"]]}',
        b'{"columns":["city","x"],"data":[["Oslo",1],["Bergen",2]]}',
        b'[[1,"Oslo"],[2,"Bergen"]]',
        b'{"rows":[[1,"Oslo"],[2,"Bergen"]]}',
    ],
)
def test_all_forms_of_rows_are_the_same_rows(body):
    assert read_rows(body, "application/json", INPUTS).rows == ROWS


def test_one_object_is_one_row():
    assert read_rows(b'{"x":1,"city":"Oslo"}', None, INPUTS).rows == ROWS[:1]


def test_keys_stand_beside_the_rows():
    assert read_rows(b'{"rows":[{"x":1},{"x":2}],"keys":[7,null]}', None, INPUTS).keys == ["7", None]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"3", "must be an object or a list, got a number"),
        (b"null", "got null"),
        (b"[]", "no rows"),
        (b'{"rows":[]}', "no rows"),
        (b'{"rows":3}', "'rows' must be a list"),
        (b'{"rows":["a"]}', "Row 0 must be an object or a list, got a string"),
        (b"[[1]]", "Row 0 has 1 values for 2 columns"),
        (b'{"columns":"x","data":[]}', "list of names"),
        (b'{"columns":["x"],"data":{}}', "'data' must be a list of rows"),
        (b'{"rows":[{"x":1}],"keys":[1,2]}', "2 keys for 1 rows"),
        (b'{"rows":[{"x":1}],"keys":1}', "'keys' must be a list"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_a_bad_body_is_one_clear_message(body, said):
    with pytest.raises(InvalidRequestError, match=said):
        read_rows(body, None, INPUTS)


def test_too_many_rows_are_too_large():
    with pytest.raises(TooLargeError, match="100001 rows"):
        read_rows(b"[" + b"[1,2]," * 100_000 + b"[1,2]]", None, INPUTS)


def multipart(*parts: tuple[str, str | None, bytes]) -> bytes:
    lines = b""
    for name, filename, data in parts:
        file = f'; filename="{filename}"' if filename else ""
        lines += f'--B\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"
    return lines + b"--B--\r\n"


TYPE = "multipart/form-data; boundary=B"


def test_files_become_payloads_and_fields_values():
    body = multipart(("image", "a.png", b"\x89PNG\r\n"), ("x", None, b"2.5"))
    assert read_rows(body, TYPE, IMAGE).rows == [{"image": b"\x89PNG\r\n", "x": 2.5}]


def test_repeated_parts_are_rows_and_single_ones_count_for_all():
    body = multipart(("image", "a", b"A"), ("image", "b", b"B"), ("x", None, b"1"), ("__key__", None, b"k"))
    parsed = read_rows(body, TYPE, IMAGE)
    assert parsed.rows == [{"image": b"A", "x": 1}, {"image": b"B", "x": 1}]
    assert parsed.keys == ["k", "k"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"nothing", TYPE),
        (b"", TYPE),
        (multipart(("image", "a", b"A")), "multipart/form-data"),
        (multipart(("", None, b"A")), TYPE),
        (
            multipart(
                ("image", "a", b"A"), ("image", "b", b"B"), ("x", None, b"1"), ("x", None, b"1"), ("x", None, b"1")
            ),
            TYPE,
        ),
    ],
)
def test_a_bad_form_is_refused(body, kind):
    with pytest.raises(InvalidRequestError):
        read_rows(body, kind, IMAGE)


def test_a_raw_image_is_the_only_payload_of_one_row():
    assert read_rows(b"PNG", "image/png", IMAGE).rows == [{"image": b"PNG"}]
    with pytest.raises(UnsupportedMediaError, match="one payload input"):
        read_rows(b"PNG", "image/png", INPUTS)


def test_a_data_url_is_base64():
    assert read_rows(b'{"image":"data:image/png;base64,QUJD"}', None, IMAGE).rows == [{"image": "QUJD"}]


@given(st.binary(max_size=300), st.sampled_from([None, TYPE, "application/json", "image/png", "text/plain; charset=x"]))
def test_no_body_breaks_the_reader(body, kind):
    try:
        read_rows(body, kind, IMAGE)
    except RequestError as error:
        assert error.status in (400, 413)  # noqa: PT017 - either answer is right, a crash is not


def test_deep_json_is_refused_or_read():
    with pytest.raises(InvalidRequestError):
        decode_json(b"[" * 5000)
