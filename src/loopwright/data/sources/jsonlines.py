"""Reads JSON Lines: one object per line, or one array of objects, in blocks of lines.

Every value comes as text, as JSON writes it; a nested value comes as its JSON text, ``null`` as missing.
"""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from loopwright.core.storage.duck import connect, quote_name, quote_text, to_arrow
from loopwright.data.sources.unit import (
    BLOCK_BYTES,
    DEFECT,
    ROW,
    SHOWN_CHARACTERS,
    TEXT,
    UnreadableUnitError,
    check_header,
    numbered,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb


def read_json_lines(file: BinaryIO, encoding: str = "utf-8") -> Iterator[pa.Table]:
    """Read the objects of a file; a line that is no object comes as a defect with its text. Blank lines are skipped.

    Raises:
        UnreadableUnitError: If a key has no name, or a file that begins as an array is none.
    """
    first = 0
    with connect() as con:
        for lines, undecodable in _lines(file, encoding):
            rows = numbered(pa.table({"line": pa.array(lines, pa.string())}), first)
            bad = pa.array([number in undecodable for number in range(len(lines))]) if undecodable else None
            rows = rows.append_column("undecodable", bad or pa.repeat(pa.scalar(False), len(lines)))  # noqa: FBT003
            first += rows.num_rows
            rows = rows.filter(pc.not_equal(pc.utf8_trim_whitespace(rows["line"]), ""))
            if rows.num_rows:
                con.register("lines", rows)
                yield _columns(con, encoding)


def _lines(file: BinaryIO, encoding: str) -> Iterator[tuple[list[str], set[int]]]:
    """Give blocks of lines, with the numbers in the block of those that are not in the encoding."""
    block = file.read(BLOCK_BYTES)
    if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or _unit_bytes(encoding) > 1:
        block = (block + file.read()).decode(encoding if _unit_bytes(encoding) > 1 else "utf-16").encode()
        encoding = "utf-8"
    block = block.removeprefix(codecs.BOM_UTF8)
    if block.lstrip()[:1] == b"[":
        yield _array(block + file.read(), encoding), set()
        return
    rest = b""
    while block:
        whole, newline, rest = (rest + block).rpartition(b"\n")
        if newline:
            yield _decoded(whole, encoding)
        block = file.read(BLOCK_BYTES)
    if rest:
        yield _decoded(rest, encoding)


def _unit_bytes(encoding: str) -> int:
    """Return how many bytes a plain letter takes, without the mark at the beginning."""
    return len("aa".encode(encoding)) - len("a".encode(encoding))


def _array(content: bytes, encoding: str) -> list[str]:
    try:
        rows = json.loads(content.decode(encoding))
    except json.JSONDecodeError as error:
        raise UnreadableUnitError(
            f"the JSON array is broken at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    return [json.dumps(row) for row in rows]


def _decoded(block: bytes, encoding: str) -> tuple[list[str], set[int]]:
    try:
        return block.decode(encoding).split("\n"), set()
    except UnicodeDecodeError:
        lines: list[str] = []
        undecodable: set[int] = set()
        for number, line in enumerate(block.split(b"\n")):
            try:
                lines.append(line.decode(encoding))
            except UnicodeDecodeError:
                lines.append(line.decode(encoding, errors="replace"))
                undecodable.add(number)
        return lines, undecodable


def _columns(con: duckdb.DuckDBPyConnection, encoding: str) -> pa.Table:
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE parsed AS SELECT {ROW}, line, undecodable, "
        "CASE WHEN json_valid(line) AND NOT undecodable THEN "
        "CASE WHEN json_type(line) = 'OBJECT' THEN line::JSON END END AS object FROM lines"
    )
    keys = to_arrow(con.sql("SELECT DISTINCT unnest(json_keys(object)) AS key FROM parsed"))
    spelled: dict[str, list[str]] = {}  # SQL does not tell upper and lower case apart
    for name in sorted(str(name) for name in keys["key"].to_pylist()):
        spelled.setdefault(name.lower(), []).append(name)
    check_header([names[0] for names in spelled.values()])
    listed = "".join(f", coalesce({_values(names)}, NULL) AS {quote_name(names[0])}" for names in spelled.values())
    doubled = [f"len(list_filter([{_values(names)}], lambda x: x IS NOT NULL)) > 1" for names in _several(spelled)]
    twice = f"WHEN {' OR '.join(doubled)} THEN 'json: two keys differ in case alone' " if doubled else ""
    return to_arrow(
        con.sql(
            f"SELECT {ROW}{listed}, CASE WHEN undecodable THEN 'encoding: the line is not valid {encoding.upper()}' "
            f"WHEN object IS NULL THEN 'json: the line is no JSON object' {twice}END AS {DEFECT}, "
            f"CASE WHEN object IS NULL THEN left(line, {SHOWN_CHARACTERS}) END AS {TEXT} FROM parsed ORDER BY {ROW}"
        )
    )


def _values(names: list[str]) -> str:
    return ", ".join(f"json_extract_string(object, {quote_text(json_pointer(name))})" for name in names)


def _several(spelled: dict[str, list[str]]) -> list[list[str]]:
    return [names for names in spelled.values() if len(names) > 1]


def json_pointer(name: str) -> str:
    """Spell a key as a JSON pointer (RFC 6901)."""
    return "/" + name.replace("~", "~0").replace("/", "~1")
