"""Judges rows by a contract, with DuckDB, in two queries.

The first reads every value in its type and finds the rows in which anything could be wrong; most batches have few. The
second looks at these alone, and says check by check what fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loopwright.core.errors import ContractError
from loopwright.core.storage.columns import duck_type, storable_type
from loopwright.core.storage.duck import fetched, quote_name, quote_text, to_arrow
from loopwright.data.contract.column import Column
from loopwright.data.contract.contract import require_known
from loopwright.data.quality.inference import inferred_types
from loopwright.data.quality.reading import (
    SQL_TYPES,
    missing_sql,
    null_where_missing,
    plain,
    present_sql,
    quick_sql,
    reading_sql,
)
from loopwright.data.quality.row_set import each_row
from loopwright.data.quality.rule import Rule, fails, is_of_type, value_checks
from loopwright.data.sources.unit import DEFECT, INSIDE, ROW, TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

    from loopwright.data.contract.contract import Contract

REASONS_TYPE = pa.list_(pa.struct([("check", pa.string()), ("column", pa.string()), ("value", pa.string())]))
_INDEX = "__index"
_FEW_ROWS = 10_000
CARRIED = ("_source", ROW)
PAYLOAD_DEFECT = "__payload_"  # with the column's name: why its bytes are no payload


@dataclass(frozen=True)
class Judged:
    """A batch after judgement: good rows in their types, the others with their reasons."""

    good: pa.Table  # the columns, and CARRIED
    bad: pa.Table  # CARRIED, reasons, raw (JSON)
    failures: dict[str, int]  # per label, warnings not among them
    warned: dict[str, int]
    stopped: dict[str, int]


class Judge:
    """Judges the batches of one ingest.

    Args:
        contract: The rules.
        required: Columns that must have a value whatever the contract says (key, event and arrival time).
        moments: Columns that are times although the contract does not say so.
        stored: DuckDB types of the columns that the dataset has already.
        payloads: Columns that hold references to stored bytes, with their type.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        contract: Contract,
        *,
        required: tuple[str, ...] = (),
        moments: tuple[str, ...] = (),
        stored: Mapping[str, str] | None = None,
        payloads: Mapping[str, str] | None = None,
    ) -> None:
        self._con = con
        self._contract = each_row(contract)
        self._needed = [item.name for item in contract.columns if item.required]
        self._required = required
        self._moments = moments
        self._types = dict(stored or {})
        self._payloads = dict(payloads or {})
        self._mistyped: set[str] = set()
        self._checked: set[tuple[str, tuple[str, ...]]] = set()

    def missing_columns(self, names: list[str]) -> list[str]:
        """Return the columns that rows must have and ``names`` lacks."""
        needed = self._needed + [name for check in self._contract.uniques() for name in check.columns]
        return [name for name in dict.fromkeys([*needed, *self._required]) if name not in names]

    def extra_columns(self, names: list[str]) -> list[str]:
        """Return the columns that a strict contract does not know."""
        if not self._contract.strict:
            return []
        return [name for name in names if name not in (*CARRIED, *INSIDE) and self._contract.column(name) is None]

    def judge(self, batch: pa.Table, *, is_text: bool) -> Judged:
        """Judge a batch of raw rows.

        Raises:
            ContractError: If an expression of the contract cannot be computed from the columns.
        """
        batch = plain(batch).combine_chunks()
        raw_names = [name for name in batch.column_names if not name.startswith("__") and name not in CARRIED]
        self._infer(batch, raw_names, is_text=is_text)
        names = raw_names + [item.name for item in self._contract.columns if item.name not in raw_names]
        columns = {name: self._declared(name) for name in names}
        for name in names:
            if name not in batch.column_names:
                batch = batch.append_column(name, pa.nulls(batch.num_rows, pa.string()))
        kinds = {name: batch.schema.field(name).type for name in names}
        self._mistyped = {
            item.name
            for item in self._contract.columns
            if not (item.coerce or is_text or is_of_type(kinds[item.name], item.type) or item.name not in raw_names)
        }
        batch = batch.append_column(_INDEX, pa.array(np.arange(batch.num_rows)))
        self._con.register("raw", batch)
        defects = {name for name in batch.column_names if name.startswith("__")} - {_INDEX}
        query = self._values_query(names, kinds, defects)
        rules = self._rules(columns, kinds, defects)
        computed = [name for name in names if not self._is_as_given(name, kinds[name])]
        found = self._found(query, computed, self._suspect(columns, kinds, defects), batch.num_rows)
        good = pa.table([(found if name in computed else batch)[name] for name in names], names=names)
        for name in CARRIED:
            good = good.append_column(name, batch[name])
        suspects = found["__suspect"]
        if not pc.any(suspects).as_py():
            return Judged(good, empty_bad(), {}, {}, {})
        rows = batch.filter(suspects)
        self._con.register("raw", rows)
        return self._split(good, rows, self._flags(query, names, kinds, rules), rules)

    def streaming_query(self, first: pa.Table, relation: str, *, has_underscores: bool = True) -> tuple[list[str], str]:
        """Write the query that judges a relation of texts as :meth:`judge` does a batch, leaving doubts to it.

        Args:
            first: The first rows, from which types are inferred.
            relation: A SELECT of the same columns.
            has_underscores: Whether there may be any in the texts.

        Returns:
            The columns, and a query that gives them in their types, ``__suspect``, and a list of their texts as
            ``__texts`` where they are suspect.
        """
        batch = plain(first)
        raw_names = [name for name in batch.column_names if not name.startswith("__") and name not in CARRIED]
        self._infer(batch, raw_names, is_text=True)
        absent = [item.name for item in self._contract.columns if item.name not in raw_names]
        names = raw_names + absent
        columns = {name: self._declared(name) for name in names}
        kinds = dict.fromkeys(names, pa.string())
        self._rules(columns, kinds, set())  # which says what an expression cannot be computed from
        inner, outer, doubts = [], [], [self._suspect(columns, kinds, set(), is_quick=True)]
        for index, name in enumerate(names):
            raw, target = f"__raw_{index}", self._target(name)
            inner.append(f"{f'raw.{quote_name(name)}' if name in raw_names else 'NULL::VARCHAR'} AS {raw}")
            quick = quick_sql(raw, target, has_underscores=has_underscores)
            if name in absent:
                quick = f"NULL::{target}", "false"
            if quick is None:
                reading = reading_sql(f"raw.{quote_name(name)}", pa.string(), target, f"__step_{index}")
                inner += [f"{computed} AS {step}" for step, computed in reading.steps]
                quick = reading_sql(raw, pa.string(), target, f"__step_{index}").value, "false"
            outer += [raw, f"{quick[0]} AS {quote_name(name)}"]
            if quick[1] != "false":
                doubts.append(quick[1].replace(quick[0], quote_name(name)))
        texts = ", ".join(f"__raw_{index}" for index in range(len(raw_names)))
        listed = ", ".join(map(quote_name, names))
        values = f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(inner)} FROM ({relation}) AS raw)"
        # DuckDB computes an expression that is named and used in one SELECT twice, so the doubts are a SELECT inside.
        doubted = f"SELECT *, coalesce({' OR '.join(doubts)}, false) AS __suspect FROM ({values})"
        packed = f"CASE WHEN __suspect THEN [{texts}] END AS __texts"
        return names, f"SELECT {listed}, __suspect, {packed} FROM ({doubted})"

    def _declared(self, name: str) -> Column:
        known = self._contract.column(name)
        if known is not None:
            return known
        type_ = "timestamp" if name in self._moments else "string"
        return Column(name, type_, required=False)  # type: ignore[arg-type]

    def _target(self, name: str) -> str:
        declared = self._contract.column(name)
        if declared is not None:
            return SQL_TYPES[declared.type]
        if name in self._moments:
            return SQL_TYPES["timestamp"]
        return self._types[name]

    def _infer(self, batch: pa.Table, names: list[str], *, is_text: bool) -> None:
        """Give columns that neither contract nor dataset knows a type, once per ingest."""
        new = [n for n in names if self._contract.column(n) is None and n not in self._moments and n not in self._types]
        texts = [name for name in new if is_text and pa.types.is_string(batch.schema.field(name).type)]
        for name in new:
            self._types[name] = duck_type(storable_type(batch.schema.field(name).type))
        if texts:
            self._con.register("raw", batch)
            self._types |= inferred_types(self._con, "raw", texts)

    def _rules(self, columns: Mapping[str, Column], kinds: Mapping[str, pa.DataType], defects: set[str]) -> list[Rule]:
        rules: list[Rule] = []
        if DEFECT in defects:
            rules.append(Rule("row", "", f"{DEFECT} IS NOT NULL", DEFECT))
        whole = f"{DEFECT} IS NULL AND " if DEFECT in defects else ""
        for index, (name, item) in enumerate(columns.items()):
            value, present = quote_name(name), f"__present_{index}"
            shown = _shown(f"raw.{quote_name(name)}", kinds[name])
            if PAYLOAD_DEFECT + name in defects:
                reason = quote_name(PAYLOAD_DEFECT + name)
                rules.append(
                    Rule(self._payloads.get(name, item.type), name, f"{reason} IS NOT NULL", reason, item.on_failure)
                )
                present = f"({present} AND {reason} IS NULL)"
            unread = "true" if name in self._mistyped else f"{value} IS NULL"
            rules.append(Rule("type", name, f"{present} AND {unread}", shown, item.on_failure))
            if item.required or name in self._required:
                absent = f"{whole}NOT __present_{index}"
                if PAYLOAD_DEFECT + name in defects:
                    absent += f" AND {quote_name(PAYLOAD_DEFECT + name)} IS NULL"
                rules.append(Rule("required", name, absent, shown, item.on_failure))
            if item.type == "float":
                rules.append(Rule("finite", name, f"isinf({value})", shown, item.on_failure))
            rules += [Rule(check, name, failed, shown, item.on_failure) for check, failed in value_checks(item, value)]
        known = list(columns)
        for check in self._contract.expects():
            where = "NULL::VARCHAR"
            self._check_expression(check.expression, known)
            rules.append(Rule("expect", check.name, fails(check.expression), where, check.on_failure))
        return rules

    def _check_expression(self, expression: str, known: list[str]) -> None:
        if (expression, tuple(known)) in self._checked:
            return
        self._checked.add((expression, tuple(known)))
        fields = ", ".join(f"NULL::{self._target(name)} AS {quote_name(name)}" for name in known)
        try:
            self._con.execute(f"SELECT ({expression})::BOOLEAN FROM (SELECT {fields}) LIMIT 0")
        except Exception as error:
            text = str(error).split("\n", 1)[0]
            name = _unknown_name(text)
            if name is not None:
                require_known([name], known, f"expect({expression!r})")
            raise ContractError(
                f"expect({expression!r}) cannot be computed: {text}.", hint="Write it as SQL over the columns."
            ) from error

    def _is_as_given(self, name: str, kind: pa.DataType) -> bool:
        """Tell whether a column's values are the raw ones, which then need not pass through the query."""
        return bool(pa.types.is_string(kind)) and self._target(name) == "VARCHAR"

    def _values_query(self, names: list[str], kinds: Mapping[str, pa.DataType], defects: set[str]) -> str:
        """Return the query that reads every value in its type, beside the raw one (``__raw_<number>``)."""
        carried = [_INDEX, *(quote_name(name) for name in defects)]
        inner, outer = list(carried), list(carried)
        for index, name in enumerate(names):
            raw = f"raw.{quote_name(name)}"
            target = self._target(name)
            steps = reading_sql(raw, kinds[name], target, f"__step_{index}").steps
            value = reading_sql(f"__raw_{index}", kinds[name], target, f"__step_{index}").value
            inner += [f"{raw} AS __raw_{index}", *(f"{computed} AS {step}" for step, computed in steps)]
            outer += [f"__raw_{index}", f"{value} AS {quote_name(name)}"]
        return f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(inner)} FROM raw)"

    def _suspect(
        self,
        columns: Mapping[str, Column],
        kinds: Mapping[str, pa.DataType],
        defects: set[str],
        *,
        is_quick: bool = False,
    ) -> str:
        """Return the SQL that is true for every row that fails a check; it may be true, or unknown, for others."""
        found = [f"{quote_name(name)} IS NOT NULL" for name in defects if name != TEXT]
        for index, (name, item) in enumerate(columns.items()):
            value, raw = quote_name(name), f"__raw_{index}"
            if name in self._mistyped:
                found.append(f"{raw} IS NOT NULL")
            if item.required or name in self._required:
                found.append(f"{value} IS NULL")
                if not null_where_missing(kinds[name], self._target(name)):
                    found.append(f"NOT ({present_sql(raw, kinds[name], self._target(name))})")
            elif not self._is_as_given(name, kinds[name]):
                doubt = f"{value} IS NULL AND {raw} IS NOT NULL"
                known = f"CASE WHEN {doubt} THEN NOT {missing_sql(raw)} ELSE false END"
                found.append(known if is_quick else f"({doubt})")
            if item.type == "float":
                found.append(f"isinf({value})")
            found += [f"({failed})" for _, failed in value_checks(item, value)]
        found += [fails(check.expression) for check in self._contract.expects()]
        return " OR ".join(found) or "false"

    def _found(self, query: str, names: list[str], suspect: str, rows: int) -> pa.Table:
        """Return the values of the named columns and whether each of the rows is suspect, in the order of the batch."""
        listed = ", ".join([_INDEX, *map(quote_name, names)])
        asked = f"SELECT {listed}, coalesce({suspect}, false) AS __suspect FROM ({query})"
        table = fetched(self._con, asked) if rows <= _FEW_ROWS else to_arrow(self._con.sql(asked))
        index = table[_INDEX].to_numpy()
        if bool((index[1:] > index[:-1]).all()):
            return table
        return table.take(pa.array(np.argsort(index)))  # threads may finish out of order

    def _flags(self, query: str, names: list[str], kinds: Mapping[str, pa.DataType], rules: list[Rule]) -> pa.Table:
        """Return which rules each suspect row fails, as ``__failed_<number>``."""
        present = [
            f"({present_sql(f'__raw_{index}', kinds[name], self._target(name))}) AS __present_{index}"
            for index, name in enumerate(names)
        ]
        failed = [f"coalesce({rule.failed}, false) AS __failed_{index}" for index, rule in enumerate(rules)]
        listed = ", ".join([_INDEX, *failed])
        return to_arrow(self._con.sql(f"SELECT {listed} FROM (SELECT *, {', '.join(present)} FROM ({query}))")).sort_by(
            _INDEX
        )

    def _split(self, good: pa.Table, suspects: pa.Table, flags: pa.Table, rules: list[Rule]) -> Judged:
        counts = {index: pc.sum(flags[f"__failed_{index}"]).as_py() or 0 for index in range(len(rules))}
        broken = {index: count for index, count in counts.items() if count}
        warned = {rules[i].label: n for i, n in broken.items() if rules[i].on_failure == "warn"}
        stopped = {rules[i].label: n for i, n in broken.items() if rules[i].on_failure == "stop"}
        failing = [index for index in broken if rules[index].on_failure != "warn"]
        if not failing:
            return Judged(good, empty_bad(), {}, warned, stopped)
        mask = flags[f"__failed_{failing[0]}"]
        for index in failing[1:]:
            mask = pc.or_(mask, flags[f"__failed_{index}"])
        bad = suspects.filter(mask)
        for index in failing:
            bad = bad.append_column(f"__failed_{index}", flags[f"__failed_{index}"].filter(mask))
        self._con.register("raw", bad)
        cases = ", ".join(
            f"CASE WHEN __failed_{i} THEN {{'check': {quote_text(rules[i].check)}, "
            f"'column': {quote_text(rules[i].column)}, 'value': {rules[i].value}}} END"
            for i in failing
        )
        fields = ", ".join(
            f"{quote_name(name)} := {_jsonable(quote_name(name), suspects.schema.field(name).type)}"
            for name in suspects.column_names
            if not name.startswith("__") and name not in CARRIED
        )
        packed = f"to_json(struct_pack({fields}))::VARCHAR" if fields else "'{}'"
        raw = (
            f"CASE WHEN {TEXT} IS NULL THEN {packed} ELSE to_json({TEXT})::VARCHAR END"
            if (TEXT in suspects.column_names)
            else packed
        )
        rows = to_arrow(
            self._con.sql(
                f"SELECT {', '.join(CARRIED)}, list_filter([{cases}], lambda reason: reason IS NOT NULL) AS reasons, "
                f"{raw} AS raw FROM raw ORDER BY {_INDEX}"
            )
        )
        kept = np.ones(good.num_rows, dtype=np.bool_)
        kept[bad[_INDEX].to_numpy()] = False
        failures = {rules[index].label: broken[index] for index in failing}
        return Judged(good.filter(pa.array(kept)), rows, failures, warned, stopped)


def empty_bad() -> pa.Table:
    """Return a quarantine without rows: ``_source``, ``_source_row``, ``reasons``, ``raw``."""
    return pa.schema(
        [("_source", pa.string()), (ROW, pa.int64()), ("reasons", REASONS_TYPE), ("raw", pa.string())]
    ).empty_table()


def _shown(value: str, kind: pa.DataType) -> str:
    if pa.types.is_binary(kind):
        return f"octet_length({value}) || ' bytes'"
    return f"left({value}::VARCHAR, 200)"


def _jsonable(value: str, kind: pa.DataType) -> str:
    if pa.types.is_binary(kind):
        return f"octet_length({value}) || ' bytes'"
    if pa.types.is_floating(kind):
        return f"CASE WHEN isfinite({value}) THEN to_json({value}) ELSE to_json({value}::VARCHAR) END"
    return value


def _unknown_name(text: str) -> str | None:
    marker = 'Referenced column "'
    return text.split(marker, 1)[1].split('"', 1)[0] if marker in text else None
