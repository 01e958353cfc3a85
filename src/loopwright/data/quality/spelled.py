"""A contract spelled in SQL over one relation: its values in their types, and the rules that its rows may break."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.errors import ContractError
from loopwright.core.storage.duck import quote_name, quote_text
from loopwright.data.contract.contract import require_known
from loopwright.data.contract.words import BYTES_TYPES, TEXT_TYPES
from loopwright.data.quality.inference import inferred_types
from loopwright.data.quality.reading import SQL_TYPES, present_sql, reading_sql
from loopwright.data.quality.rule import Rule, fails, is_of_type, value_checks
from loopwright.data.sources.unit import DEFECT, INSIDE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from loopwright.data.contract.column import Column
    from loopwright.data.contract.contract import Contract

INDEX = "__index"
_DEAR = ("matches", "not_matches", "format", "json")
_MOST_LISTED = 50
_ALL = 1 << 40  # a limit that nothing reaches keeps the engine from asking each row before it looks for different ones


@dataclass(frozen=True)
class Relation:
    """A table to check.

    Attributes:
        sql: SQL that may follow FROM; it has the columns, and :data:`INDEX`, the number of each row.
        kinds: The columns with their Arrow types.
        is_text: Whether all values are texts, so that types are inferred and blanks mean missing.
        headers: The columns of each file.
        rows: How many there are, where that is known.
        repeating: Columns of texts with few different values.
    """

    sql: str
    kinds: Mapping[str, pa.DataType]
    is_text: bool = False
    headers: tuple[tuple[str, ...], ...] = ()
    rows: int | None = None
    repeating: frozenset[str] = frozenset()


class Spelled:
    """The values and rules of a contract over a relation.

    Args:
        con: Where the relation is.
        contract: What each row is judged by alone.
        relation: The rows.
        required: Columns that must have a value whatever the contract says.
        needed: Declared columns, of which those that are required must be there.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        contract: Contract,
        relation: Relation,
        *,
        required: Sequence[str] = (),
        needed: Sequence[Column] = (),
    ) -> None:
        self._con = con
        self._contract = contract
        self.relation = relation
        self._required = tuple(required)
        there = [name for name in relation.kinds if name not in INSIDE]
        must = [item.name for item in needed if item.required]
        require_known([*must, *required], there, "The contract")
        if contract.strict:
            extra = [name for name in there if contract.column(name) is None]
            if extra:
                raise ContractError(f"The contract is strict and does not name the column {', '.join(extra)}.")
        self.names = there + [item.name for item in contract.columns if item.name not in there]
        self._kinds = {name: relation.kinds.get(name, pa.string()) for name in self.names}
        texts = [n for n in there if relation.is_text and contract.column(n) is None]
        self._inferred = inferred_types(con, relation.sql, texts)
        self.query = self._query()
        self.types = self._described()
        self.rules = [self._by_value(rule) for rule in self._rules()]

    def require(self, names: Sequence[str], where: str) -> bool:
        """Raise ContractError unless all these columns are there; else say so."""
        require_known(names, self.types, where)
        return True

    def mostly_labels(self, item: Column) -> list[str]:
        """Return the labels of the checks of a column that must hold for most rows only."""
        if item.mostly is None:
            return []
        labels = [f"{check}({item.name})" for check, _ in value_checks(item, quote_name(item.name))]
        return [*labels, f"required({item.name})"] if item.required else labels

    def shown(self, name: str) -> str:
        """Return the SQL of a column's raw value as people see it."""
        raw = f"__raw_{self.names.index(name)}"
        if pa.types.is_binary(self._kinds[name]) or pa.types.is_large_binary(self._kinds[name]):
            return f"(octet_length({raw}) || ' bytes')"
        return raw

    def _target(self, name: str) -> str | None:
        """Return the DuckDB type that a column is read as; None where it is taken as it is."""
        declared = self._contract.column(name)
        if declared is not None:
            return None if declared.type in BYTES_TYPES else SQL_TYPES[declared.type]
        if name in self._inferred:
            return self._inferred[name]
        kind = self._kinds[name]
        return "DOUBLE" if pa.types.is_floating(kind) else None

    def _query(self) -> str:
        """Return the query that reads every value in its type, beside the raw one (``__raw_<number>``)."""
        carried = [INDEX, *([DEFECT] if DEFECT in self.relation.kinds else [])]
        inner, outer = list(carried), list(carried)
        for index, name in enumerate(self.names):
            raw = f"raw.{quote_name(name)}" if name in self.relation.kinds else "NULL::VARCHAR"
            value, target = f"__raw_{index}", self._target(name)
            inner.append(f"{raw} AS {value}")
            if target is not None:
                kind = _plain_kind(self._kinds[name])
                if pa.types.is_timestamp(kind) and kind.tz is None and target == SQL_TYPES["timestamp"]:
                    raw = f"make_timestamptz(epoch_us({raw}))"  # a cast asks the time zone for every row
                    inner[-1] = f"CASE WHEN isfinite(raw.{quote_name(name)}) THEN {raw} END AS {value}"
                    outer += [value, f"{value} AS {quote_name(name)}"]
                    continue
                inner += [f"{sql} AS {step}" for step, sql in reading_sql(raw, kind, target, f"__step_{index}").steps]
                value = reading_sql(value, kind, target, f"__step_{index}").value
            outer += [f"__raw_{index}", f"{value} AS {quote_name(name)}"]
        return f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(inner)} FROM {self.relation.sql} AS raw)"

    def _described(self) -> dict[str, str]:
        rows = self._con.execute(f"DESCRIBE {self.query}").fetchall()
        return {str(row[0]): str(row[1]) for row in rows if not str(row[0]).startswith("__")}

    def _rules(self) -> list[Rule]:
        rules: list[Rule] = []
        whole = ""
        if DEFECT in self.relation.kinds:
            rules.append(Rule("row", "", f"{DEFECT} IS NOT NULL", DEFECT))
            whole = f"{DEFECT} IS NULL AND "
        for index, name in enumerate(self.names):
            item = self._contract.column(name)
            raw, value = f"__raw_{index}", quote_name(name)
            target = "VARCHAR" if item is None else SQL_TYPES[item.type]
            present = present_sql(raw, _plain_kind(self._kinds[name]), target)
            if name in self._required or (item is not None and item.required):
                on_failure = "quarantine" if item is None else item.on_failure
                rules.append(Rule("required", name, f"{whole}NOT ({present})", raw, on_failure))
            if item is None:
                continue
            is_there = name in self.relation.kinds
            mistyped = not (item.coerce or self.relation.is_text or is_of_type(self._kinds[name], item.type))
            if (
                is_there
                and item.type not in BYTES_TYPES
                and (mistyped or not _is_as_read(self._kinds[name], item.type))
            ):
                unread = "true" if mistyped else f"{value} IS NULL"
                rules.append(Rule("type", name, f"({present}) AND {unread}", raw, item.on_failure))
            if item.type == "float":
                rules.append(Rule("finite", name, f"isinf({value})", raw, item.on_failure))
            rules += [Rule(check, name, failed, raw, item.on_failure) for check, failed in value_checks(item, value)]
        for check in self._contract.expects():
            self._check_expression(check.expression)
            rules.append(Rule("expect", check.name, fails(check.expression), "NULL::VARCHAR", check.on_failure))
        return rules

    def _by_value(self, rule: Rule) -> Rule:
        """Spell a rule that is dear to compute as a list of the values that break it, where a column holds few.

        The engine computes most functions once per value of a Parquet file's dictionary, but not those that may fail.
        """
        if rule.check not in _DEAR or rule.column not in self.relation.repeating:
            return rule
        column = quote_name(rule.column)
        different = f"SELECT DISTINCT {column} FROM ({self.query}) WHERE {column} IS NOT NULL LIMIT {_ALL}"
        broken = self._con.execute(
            f"SELECT {column}::VARCHAR FROM ({different}) WHERE {rule.failed} LIMIT {_MOST_LISTED + 1}"
        ).fetchall()
        if len(broken) > _MOST_LISTED:
            return rule
        listed = ", ".join(quote_text(str(value)) for (value,) in broken)
        return replace(rule, failed=f"{column} IN ({listed})" if listed else "false")

    def _check_expression(self, expression: str) -> None:
        try:
            self._con.execute(f"SELECT ({expression})::BOOLEAN FROM ({self.query}) LIMIT 0")
        except Exception as error:
            text = str(error).split("\n", 1)[0]
            marker = 'Referenced column "'
            if marker in text:
                require_known([text.split(marker, 1)[1].split('"', 1)[0]], self.names, f"expect({expression!r})")
            raise ContractError(
                f"expect({expression!r}) cannot be computed: {text}.", hint="Write it as SQL over the columns."
            ) from error


def _is_as_read(kind: pa.DataType, type_: str) -> bool:
    """Tell whether every value of a source's type is one of the declared type, so that none can be unreadable."""
    whole = pa.types.is_integer(kind) and kind != pa.uint64()
    if type_ == "float":
        return bool(pa.types.is_floating(kind) or whole)
    if type_ in {"int", "bool"}:
        return bool(whole if type_ == "int" else pa.types.is_boolean(kind))
    return type_ in TEXT_TYPES and pa.types.is_string(_plain_kind(kind))


def _plain_kind(kind: pa.DataType) -> pa.DataType:
    """Return the type under which the SQL of a reading knows a type: dictionaries as their values, texts as texts."""
    if isinstance(kind, pa.DictionaryType):
        return _plain_kind(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return pa.string()
    return pa.binary() if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) else kind
