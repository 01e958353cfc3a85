"""Says of rows that a key or a uniqueness check kept out which row has their values already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.storage.duck import quote_name, quote_text
from loopwright.data.ingest.stage import POSITION, SOURCE
from loopwright.data.sources.unit import ROW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

NEWER = '; with on_duplicate="upsert" the newer row would count'


def name_owners(
    con: duckdb.DuckDBPyConnection, fields: Mapping[tuple[str, str], Sequence[str]], *, stored: bool
) -> None:
    """Make the table ``owners``: for each position of ``dropped`` that is kept out, who has its values, as a sentence.

    The stored row comes first, then the first of the same ingest.

    Args:
        con: Has ``staged``, ``dropped`` and, where ``stored`` says so, ``stored``.
        fields: The columns of each label and field that ``dropped`` names.
        stored: Whether rows are stored.
    """
    con.execute("CREATE OR REPLACE TEMP TABLE owners (position BIGINT, label VARCHAR, field VARCHAR, owner VARCHAR)")
    known = {row[0] for row in con.execute("SELECT column_name FROM (DESCRIBE stored)").fetchall()} if stored else set()
    for (label, field), names in fields.items():
        listed = ", ".join(map(quote_name, names))
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE refused AS SELECT {POSITION}, {listed} FROM staged SEMI JOIN "
            f"(SELECT position AS __at FROM dropped WHERE kind = 'bad' AND label = {quote_text(label)} "
            f"AND field = {quote_text(field)}) ON __at = {POSITION}"
        )
        same = f"SEMI JOIN refused USING ({listed}) GROUP BY {listed}"
        first = f"first({_said('')} ORDER BY {POSITION})"
        owners = [f"SELECT {listed}, 1 AS __rank, {first} AS __owner FROM staged {same}"]
        if {SOURCE, ROW, *names} <= known:
            newest = "ORDER BY _arrived_at DESC" if "_arrived_at" in known else ""
            owner = f"first({_said(', stored')} {newest})"
            owners.append(f"SELECT {listed}, 0 AS __rank, {owner} AS __owner FROM stored {same}")
        ending = quote_text(NEWER if label == "key" else "")
        con.execute(
            f"INSERT INTO owners SELECT {POSITION}, {quote_text(label)}, {quote_text(field)}, "
            f"arg_min(__owner, __rank) || {ending} FROM refused JOIN ({' UNION ALL '.join(owners)}) USING ({listed}) "
            f"GROUP BY {POSITION}"
        )


def _said(where: str) -> str:
    return f"'taken by ' || {SOURCE} || ' row ' || {ROW} || {quote_text(where)}"
