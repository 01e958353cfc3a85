"""Decodes records in JSON: each value as text, as JSON writes it, for the contract to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.storage.duck import borrowed, quote_text, to_arrow
from loopwright.data.sources.jsonlines import json_pointer
from loopwright.data.sources.record_frame import payload

if TYPE_CHECKING:
    from collections.abc import Sequence


class JsonRecords:
    """Objects in JSON; each value as text, a nested one as its JSON text, ``null`` as missing."""

    def __init__(self, *, is_framed: bool) -> None:
        self._is_framed = is_framed

    def table(self, values: Sequence[bytes | None]) -> tuple[pa.Table, list[str | None]]:
        """Return one row per value, and why a value could not be read, or None."""
        reasons: list[str | None] = [None] * len(values)
        try:
            texts = pa.array([b"" if self._is_framed else value for value in values], pa.binary()).cast(pa.string())
            is_plain = not self._is_framed and texts.null_count == 0
        except pa.ArrowInvalid:
            is_plain = False
        if not is_plain:
            found: list[str | None] = []
            for index, value in enumerate(values):
                try:
                    found.append(payload(value, is_framed=self._is_framed).decode())
                except ValueError as error:
                    kind = "encoding: it is not valid UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
                    reasons[index] = kind if kind.startswith("encoding") else f"json: {kind}"
                    found.append(None)
            texts = pa.array(found, pa.string())
        with borrowed() as con:
            con.register("lines", pa.table({"n": pa.array(range(len(values)), pa.int64()), "line": texts}))
            con.execute(
                "CREATE OR REPLACE TEMP TABLE parsed AS SELECT n, CASE WHEN json_valid(line) THEN "
                "CASE WHEN json_type(line) = 'OBJECT' THEN line::JSON END END AS object FROM lines"
            )
            keys = to_arrow(con.sql("SELECT DISTINCT unnest(json_keys(object)) AS key FROM parsed"))
            names = sorted(str(name) for name in keys["key"].to_pylist())
            listed = "".join(
                f", json_extract_string(object, {quote_text(json_pointer(name))}) AS c{index}"
                for index, name in enumerate(names)
            )
            rows = to_arrow(con.sql(f"SELECT object IS NULL AS broken{listed} FROM parsed ORDER BY n"))
        if rows.num_rows:
            for index, is_broken in enumerate(rows["broken"].to_pylist()):
                if is_broken and reasons[index] is None:
                    reasons[index] = "json: the value is no JSON object"
        return pa.table(rows.columns[1:], names=names) if names else rows.select([]), reasons
