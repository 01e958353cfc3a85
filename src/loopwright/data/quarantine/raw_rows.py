"""The raw values of quarantined rows as columns: the SQL that takes them out of their JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.storage.duck import quote_name, quote_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb


def raw_columns(con: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Return the SQL of every column that a row of ``relation`` has in ``raw``, by name.

    A column holds numbers or truth values where all its values are such, else texts. Names that differ in case only are
    one column.
    """
    listed = con.execute(
        "SELECT name FROM (SELECT unnest(json_keys(raw)) AS name, generate_subscripts(json_keys(raw), 1) AS place "
        f"FROM {relation}) GROUP BY name ORDER BY min(place), name"
    ).fetchall()
    variants: dict[str, list[str]] = {}
    for (name,) in listed:
        variants.setdefault(name.lower(), []).append(name)
    if not variants:
        return {}
    pointers = [[quote_text(_pointer(name)) for name in names] for names in variants.values()]
    kinds = [_first([f"nullif(json_type(raw, {one}), 'NULL')" for one in group]) for group in pointers]
    asked = ", ".join(f"list(DISTINCT {kind})" for kind in kinds)
    found = con.execute(f"SELECT {asked} FROM {relation}").fetchall()[0]
    columns = {}
    for names, group, kind in zip(variants.values(), pointers, found, strict=True):
        text = _first([f"json_extract_string(raw, {one})" for one in group])
        columns[names[0]] = f"{text}::{_type_of({one for one in kind or () if one})}"
    return columns


def listed_sql(columns: dict[str, str]) -> str:
    """Return the columns as a list to select, with a comma before each."""
    return "".join(f", {sql} AS {quote_name(name)}" for name, sql in columns.items())


def _first(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"coalesce({', '.join(texts)})"


def _type_of(kinds: set[str]) -> str:
    if kinds and kinds <= {"BIGINT", "UBIGINT", "DOUBLE"}:
        return "BIGINT" if kinds == {"BIGINT"} else "DOUBLE" if "UBIGINT" not in kinds else "VARCHAR"
    return "BOOLEAN" if kinds == {"BOOLEAN"} else "VARCHAR"


def _pointer(name: str) -> str:
    """Return the JSON pointer of a key (RFC 6901)."""
    return "/" + name.replace("~", "~0").replace("/", "~1")
