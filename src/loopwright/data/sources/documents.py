"""Rows from documents: objects of a JSON API, documents of a database.

A document's fields are the columns; a field that is an object or a list becomes its JSON text, and ``fields`` gives
what lies inside columns of its own. Documents need not have the same fields: what one lacks is missing there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.errors import SourceError
from loopwright.data.sources.http_paging import found_at
from loopwright.data.sources.rows import Rows, text_of
from loopwright.data.sources.unit import DEFECT, SHOWN_CHARACTERS, TEXT, UnreadableUnitError, check_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def rows_of(documents: Sequence[object], where: str, *, fields: Mapping[str, str], watermark: str | None) -> Rows:
    """Turn documents into rows; what is no object comes with a defect, for the quarantine.

    Args:
        documents: What the server gave.
        where: The source's name, for messages.
        fields: Columns for what lies inside, by the dotted path to it.
        watermark: A column that the rows have in any case.

    Raises:
        SourceError: If two fields differ only in case, which SQL cannot tell apart.
    """
    records = [_record(one, fields) for one in documents]
    names: dict[str, None] = dict.fromkeys([watermark] if watermark else [])
    for record in records:
        names.update(dict.fromkeys(record))
    try:
        check_header(list(names))
    except UnreadableUnitError as error:
        raise SourceError(f"{where}: {error}.", hint="Rename or leave out one of them in the source.") from None
    listed = tuple(names)
    types = tuple(pa.string() if name in {DEFECT, TEXT} else None for name in listed)
    return Rows(listed, [tuple(record.get(name) for name in listed) for record in records], types)


def _record(document: object, fields: Mapping[str, str]) -> dict[str, object]:
    if not isinstance(document, dict):
        return {DEFECT: "json: the row is no object", TEXT: text_of(document)[:SHOWN_CHARACTERS]}
    record: dict[str, object] = {}
    for name, value in document.items():
        is_nested = isinstance(value, (dict, list))
        record[str(name)] = json.dumps(value, ensure_ascii=False, default=text_of) if is_nested else value
    for name, path in fields.items():
        value = found_at(document, path)
        record[name] = (
            json.dumps(value, ensure_ascii=False, default=text_of) if isinstance(value, (dict, list)) else value
        )
    return record
