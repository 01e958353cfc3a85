"""Which rows a request means: its keys as the dataset holds them, and the SQL that finds them by their digests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import UnknownNameError, UsageError
from loopwright.core.pseudonyms import Pseudonyms
from loopwright.core.storage.columns import duck_type
from loopwright.core.storage.duck import connect, quote_name, quote_text
from loopwright.data.ingest.text import text_ref
from loopwright.data.versions.erasure import digest_sql, raw_forms
from loopwright.data.versions.history import declared_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import sqlalchemy as sa

    from loopwright.core.storage.stores import Stores

LINE_ID = "_ingest_id || '/' || _source || '/' || _source_row"
_CELLS = r"[,;\t|\"\[\]{}:]"  # what stands between the cells of a line, whatever its format
_WORDS = r"[^\pL\pN_@.+-]+"  # and between the words of a cell


@dataclass(frozen=True)
class ErasedRows:
    """The rows of one request.

    Attributes:
        column: The column that says whose rows they are.
        kind: Its DuckDB type; None while nothing is stored.
        salt: Of the digests.
        digests: Of the keys.
    """

    column: str
    kind: str | None
    salt: str
    digests: tuple[str, ...]

    @classmethod
    def of(cls, stores: Stores, row: sa.Row[Any]) -> ErasedRows:
        """Read a request."""
        return cls(
            row.key_column, column_type(stores, row.dataset, row.key_column), row.salt, tuple(sorted(row.key_digests))
        )

    def matches(self, form: str, digests: Collection[str] | None = None) -> str:
        """Write the condition that a text expression is one of the keys, or of other values by their digests."""
        listed = ", ".join(quote_text(one) for one in (self.digests if digests is None else digests)) or "NULL"
        return f"coalesce({digest_sql(self.salt, form)} IN ({listed}), false)"

    @property
    def stored(self) -> str:
        """The condition on the dataset's own rows."""
        return self.matches(f"{quote_name(self.column)}::VARCHAR")

    def kept_out(self, lines: Sequence[str]) -> str:
        """Write the condition on quarantined rows: by their cells as they came, as text where a row has no such cell.

        Args:
            lines: Rows that were found otherwise.
        """
        cells = [self.matches(form) for form in raw_forms(self.column, self.kind)]
        words = f"list_concat(regexp_split_to_array({_LINE}, '{_CELLS}'), regexp_split_to_array({_LINE}, '{_WORDS}'))"
        forms = [
            "trim(x)",
            *([f"TRY_CAST(trim(x) AS {self.kind})::VARCHAR"] if self.kind not in {None, "VARCHAR"} else []),
        ]
        any_of = " OR ".join(self.matches(form) for form in forms)
        whole = f"({self._uncut} AND len(list_filter({words}, lambda x: {any_of})) > 0)"
        named = f"({LINE_ID}) IN ({', '.join(quote_text(one) for one in lines)})" if lines else "false"
        return f"({' OR '.join([*cells, whole, named])})"

    def as_text(self, values: Sequence[object]) -> str:
        """Write the condition that a line that was not taken apart has one of the values in it, as it was given."""
        edge = r"[^\pL\pN_]"
        texts = [quote_text(str(value)) for value in values if str(value).strip()]
        found = [f"regexp_matches({_LINE}, '(^|{edge})' || regexp_escape({text}) || '({edge}|$)')" for text in texts]
        return f"({self._uncut} AND ({' OR '.join(found) or 'false'}))"

    @property
    def _uncut(self) -> str:
        path = quote_text('$."' + self.column.replace('"', '\\"') + '"')
        return f"(json_type(raw) <> 'OBJECT' OR json_extract_string(raw, {path}) IS NULL)"


_LINE = "(CASE json_type(raw) WHEN 'VARCHAR' THEN json_extract_string(raw, '$') ELSE raw::VARCHAR END)"


def column_type(stores: Stores, dataset: str, column: str) -> str | None:
    """Return a stored column's DuckDB type; None while nothing is stored.

    Raises:
        UnknownNameError: If the dataset has no such column.
    """
    if not stores.tables.exists(f"datasets/{dataset}"):
        return None
    schema = stores.tables.schema(f"datasets/{dataset}")
    if column not in schema.names:
        raise UnknownNameError("column", column, schema.names, where=f"in dataset '{dataset}'")
    return duck_type(schema.field(column).type)


def canonical(stores: Stores, dataset: str, column: str, value: object, declaration: dict[str, object]) -> str:
    """Write a value as the column's text is, so that ``7``, ``"7"`` and ``7.0`` are one key of whole numbers.

    Raises:
        UnknownNameError: If the dataset has no such column.
        UsageError: If the value is none of the column's type, or the column tells no row from another.
    """
    kind = column_type(stores, dataset, column)
    if column in declared_columns(declaration, "text"):
        return text_ref(str(value))
    sensitive = _sensitive(declaration, column)
    if sensitive == "mask":
        raise UsageError(
            f"Column '{column}' of '{dataset}' holds outlines, by which no row can be told from another.",
            hint="Erase by another column.",
        )
    if sensitive == "hash":
        return Pseudonyms(stores.facts).of(str(value))
    if kind is None:
        return str(value)
    with connect(threads=1) as con:
        query = f"SELECT TRY_CAST($value AS {kind})::VARCHAR"
        found = con.execute(query, {"value": str(value)}).fetchall()[0][0]
    if found is None:
        raise UsageError(f"A value is no {kind}, as column '{column}' of '{dataset}' is; nothing was erased.")
    return str(found)


def _sensitive(declaration: dict[str, object], column: str) -> object:
    contract = declaration.get("contract")
    columns = contract.get("columns", []) if isinstance(contract, dict) else []
    return next((one.get("sensitive") for one in columns if one["name"] == column), None)
