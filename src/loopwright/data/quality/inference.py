"""The types of columns that come as text and that nothing declares: the narrowest that holds every value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.storage.duck import quote_name, to_arrow
from loopwright.data.quality.reading import SQL_TYPES, integer_sql, number_sql, present_sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb


def inferred_types(con: duckdb.DuckDBPyConnection, relation: str, names: Sequence[str]) -> dict[str, str]:
    """Return a DuckDB type for each text column of a relation: int, float, bool, timestamp or text, by its values.

    Numbers with leading zeros, such as codes, stay texts.
    """
    if not names:
        return {}
    listed = []
    for index, name in enumerate(names):
        column, present = quote_name(name), present_sql(quote_name(name), pa.string(), "BIGINT")
        text = f"trim({column})"
        for kind, fits in (
            ("i", f"{integer_sql(text)} IS NOT NULL AND NOT regexp_matches({text}, '^[+-]?0[0-9]')"),
            ("f", f"{number_sql(text)} IS NOT NULL AND NOT regexp_matches({text}, '^[+-]?0[0-9]')"),
            ("b", f"lower({text}) IN ('true', 'false')"),
            ("t", f"TRY_CAST({text} AS TIMESTAMPTZ) IS NOT NULL"),
        ):
            listed.append(f"bool_and({fits}) FILTER ({present}) AS {kind}{index}")
    found = to_arrow(con.sql(f"SELECT {', '.join(listed)} FROM {relation}")).to_pylist()[0]
    kinds = {"i": "BIGINT", "f": "DOUBLE", "b": "BOOLEAN", "t": SQL_TYPES["timestamp"]}
    return {
        name: next((kinds[kind] for kind in kinds if found[f"{kind}{index}"]), "VARCHAR")
        for index, name in enumerate(names)
    }
