"""Rows as JSON writes them: lists of objects, of lists or of single values, and objects of columns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from loopwright.core.errors import InvalidRequestError
from loopwright.serving.bodies.row_bounds import check_rows
from loopwright.serving.http.message import BadFieldError, decode_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def decode_python_json(body: bytes) -> object:
    """Read JSON as Python's own module writes it: with ``NaN`` (taken as missing) and infinities, which JSON has not.

    >>> decode_python_json(b'{"a": [1, NaN]}')
    {'a': [1, None]}

    Raises:
        InvalidRequestError: When it is neither; says where.
    """
    if b"NaN" not in body and b"Infinity" not in body:
        return decode_json(body)
    try:
        return json.loads(body, parse_constant=lambda name: None if name == "NaN" else float(name))
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"The body is not valid JSON: {error}.") from error


def listed_rows(rows: Sequence[object], names: Sequence[str]) -> list[dict[str, object]]:
    """Return rows by name: objects as they are, lists in the order of the names; for a single name also bare values.

    >>> listed_rows([{"a": 1}, [2]], ["a"]), listed_rows([3, [4, 5]], ["a"])
    ([{'a': 1}, {'a': 2}], [{'a': 3}, {'a': [4, 5]}])

    Raises:
        InvalidRequestError: When a row is none of these; says which.
    """
    result: list[dict[str, object]] = []
    for number, row in enumerate(rows):
        if isinstance(row, dict):
            result.append(row)
        elif isinstance(row, list) and len(row) == len(names):
            result.append(dict(zip(names, row, strict=True)))
        elif len(names) == 1:  # the value itself, perhaps an array
            result.append({names[0]: row})
        elif isinstance(row, list):
            raise BadFieldError(f"Row {number} has {len(row)} values for {len(names)} columns.", row=number)
        else:
            raise BadFieldError(f"Row {number} must be an object or a list, got {name_of(row)}.", row=number)
    return result


def columnar_rows(columns: Mapping[str, object]) -> list[dict[str, object]]:
    """Return the rows of columns by name; values that are no lists are one row.

    >>> columnar_rows({"a": [1, 2], "b": [3, 4]}), columnar_rows({"a": 1, "b": 3})
    ([{'a': 1, 'b': 3}, {'a': 2, 'b': 4}], [{'a': 1, 'b': 3}])

    Raises:
        InvalidRequestError: When the columns have different lengths, or only some are lists.
        TooLargeError: When there are more than 100,000 rows.
    """
    if columns and not any(isinstance(values, list) for values in columns.values()):
        return [dict(columns)]
    lists: list[list[object]] = []
    for name, values in columns.items():
        if not isinstance(values, list):
            raise BadFieldError(f"The column '{name}' must be a list, got {name_of(values)}.", field=name)
        if lists and len(values) != len(lists[0]):
            raise BadFieldError(f"The column '{name}' has {len(values)} values for {len(lists[0])} rows.", field=name)
        lists.append(values)
    check_rows(len(lists[0]) if lists else 0)
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def name_of(value: object) -> str:
    """Return what JSON calls a value.

    >>> name_of([]), name_of(None), name_of(3)
    ('a list', 'null', 'a number')
    """
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
