"""Judges what an ingest reads, row by row and as a whole, and stages it; nothing becomes visible here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loopwright.core.errors import ContractError, IngestStoppedError, SourceError
from loopwright.core.pseudonyms import Pseudonyms
from loopwright.core.storage.columns import duck_type
from loopwright.core.storage.duck import quote_text
from loopwright.data.contract.column import BYTES_TYPES, SYSTEM_COLUMNS
from loopwright.data.contract.contract import require_known
from loopwright.data.ingest.drift import Drift
from loopwright.data.ingest.identity import Identified, Identity
from loopwright.data.ingest.known_keys import KnownKeys
from loopwright.data.ingest.payload import store_payloads
from loopwright.data.ingest.redaction import Redaction
from loopwright.data.ingest.settling import Settling, looks_at_others
from loopwright.data.ingest.stage import SOURCE, Stage, with_system_columns
from loopwright.data.ingest.stray import Stray
from loopwright.data.ingest.text import TextShelf, raw_with_texts
from loopwright.data.quality.judge import REASONS_TYPE, Judge, Judged
from loopwright.data.quality.reading import SQL_TYPES
from loopwright.data.quality.scanning import UnscannableError, scanned
from loopwright.data.sources.files import FilesSource
from loopwright.data.sources.plan import Known
from loopwright.data.sources.unit import INSIDE, ROW, UnreadableUnitError
from loopwright.data.versions.history import declared_columns
from loopwright.data.versions.suppression import Suppression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    import duckdb

    from loopwright.core.storage.stores import Stores
    from loopwright.data.dataset import Dataset
    from loopwright.data.ingest.known_keys import Suspects
    from loopwright.data.quality.whole import WholeResult
    from loopwright.data.sources.plan import Plan
    from loopwright.data.sources.unit import Unit


@dataclass
class Tally:
    """What judging found, added up over units."""

    rows_read: int = 0
    rows_bad: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    warned: dict[str, int] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)

    def add(self, rows: int, judged: Judged) -> None:
        """Add one batch."""
        self.rows_read += rows
        self.rows_bad += judged.bad.num_rows
        self.count(judged.failures, judged.warned, judged.stopped)

    def merge(self, other: Tally) -> None:
        """Add another tally."""
        self.rows_read += other.rows_read
        self.rows_bad += other.rows_bad
        self.count(other.failures, other.warned, other.stopped)

    def count(self, failures: dict[str, int], warned: dict[str, int], stopped: dict[str, int]) -> None:
        """Add failed checks."""
        for mine, theirs in ((self.failures, failures), (self.warned, warned), (self.stopped, stopped)):
            for label, number in theirs.items():
                mine[label] = mine.get(label, 0) + number


@dataclass(frozen=True)
class Staged:
    """A judged ingest, ready to be committed."""

    rows_read: int
    rows_accepted: int
    rows_quarantined: int
    rows_duplicate: int
    superseding: int
    reasons: dict[str, int]
    records: list[Known]
    refused: dict[str, str]
    warnings: list[str]


class Judging:
    """Reads the units of a plan, judges their rows and stages them; nothing becomes visible."""

    def __init__(
        self,
        stores: Stores,
        dataset: Dataset,
        stage: Stage,
        *,
        ingest_id: str,
        now: datetime,
        declared: Mapping[str, object] | None,
    ) -> None:
        self._stores = stores
        self._dataset = dataset
        self._stage = stage
        self._ingest_id = ingest_id
        self._now = now
        self._is_first = declared is None
        self._was_text = set() if declared is None else set(declared_columns(declared, "text"))
        self._table = f"datasets/{dataset.name}"
        self._stored: dict[str, str] = {}
        if declared is not None:
            schema = stores.tables.schema(self._table)
            self._stored = {one.name: duck_type(one.type) for one in schema if one.name not in SYSTEM_COLUMNS}
        self._payloads = {item.name: item.type for item in dataset.contract.columns if item.type in BYTES_TYPES}
        self._text_columns = [item.name for item in dataset.contract.columns if item.type == "text"]
        self._texts = TextShelf(self._text_columns, stores.payloads, self._stage_good)
        self._measures: tuple[str, ...] = ()
        if isinstance(dataset.source, FilesSource):
            self._measures = dataset.source.measures
        self._redaction = Redaction(dataset.contract, Pseudonyms(stores.facts))
        self._suppression = Suppression(stores.facts, dataset.name)
        self.keys = KnownKeys(stores, dataset.name, stage, self._stored, self._suppression.requests)
        self._drift = Drift(dataset.contract, self._stored, self._measures)
        self._stray = Stray(dataset.contract, self._stored)
        self._tally = Tally()
        self._headers: list[list[str]] = []
        self._missing: dict[str, tuple[list[str], list[str]]] = {}

    def run(self, plan: Plan, stored_sql: Callable[[], str] | None, con: duckdb.DuckDBPyConnection) -> Staged:
        """Judge every unit of the plan. ``stored_sql`` gives a query of the stored rows that count, in ``con``.

        Raises:
            ContractError: If the contract cannot be checked against the data or the stored columns.
            IngestStoppedError: If a check with ``on_failure="stop"`` failed.
        """
        self._check_types()
        dataset = self._dataset
        moments = tuple(name for name in (dataset.event_time, dataset.arrival_time) if name)
        judge = Judge(
            con,
            dataset.contract,
            required=(*dataset.key, *moments),
            moments=moments,
            stored=self._stored,
            payloads=self._payloads,
        )
        records, refused, warnings = list(plan.records), dict(plan.refused), list(plan.warnings)
        for unit in plan.units:
            tally = Tally()
            try:
                rows = self._judge_unit(judge, unit, tally, con)
            except UnreadableUnitError as error:
                if not unit.is_recorded:  # its mark would move past rows that are nowhere
                    raise SourceError(f"{unit.name} cannot be read: {error}. Nothing was stored.") from error
                refused[unit.name] = str(error)
                rows = 0
            else:
                self._tally.merge(tally)
            if unit.is_recorded:
                state = "refused" if unit.name in refused else "read"
                records.append(Known(unit.name, unit.digest, unit.size_bytes, unit.modified_ns, rows, state))
        warnings += self._drift.warnings(self._tally.failures)
        self._stop_or_warn(warnings, self._tally)
        if self._suppression.rows:
            warnings.append(f"{self._suppression.rows} rows of erased keys were left out")
        self._texts.flush()
        self._stage.close()
        if self._is_first and self._missing and len(self._missing) == len(plan.units):
            name, (absent, there) = next(iter(self._missing.items()))
            require_known(absent, there, f"Dataset '{dataset.name}', read from {name},")
        identified = self._identify(con, stored_sql, refused)
        return self._finish(con, identified, records, refused, warnings)

    def _judge_unit(self, judge: Judge, unit: Unit, tally: Tally, con: duckdb.DuckDBPyConnection) -> int:
        is_first = True
        if unit.scan is not None and not (self._payloads or self._text_columns):
            first = next(iter(unit.batches()), None)
            if first is not None and first.num_rows:
                first, is_first = self._named(judge, unit, first, is_first=True), False
                mark, erased = self._stage.mark(), self._suppression.rows
                found = Tally()
                try:
                    last = self._take(scanned(judge, unit.scan, first, unit.name, con.cursor()), found)
                except UnscannableError:  # the careful reader says what is wrong with which line
                    self._stage.rewind(mark)
                    self._suppression.rows = erased
                else:
                    tally.merge(found)
                    return last + 1
        return self._take(self._judged(judge, unit, is_first=is_first), tally) + 1

    def _take(self, judged: Iterator[tuple[Judged, int]], tally: Tally) -> int:
        """Stage judged batches, each of which comes with its last row's number, and return the greatest."""
        last = -1
        for batch, row in judged:
            kept = self._suppression.without(
                batch, good=self._redaction.good, bad=self._redaction.bad, types=self._stored
            )
            tally.add(kept.good.num_rows + kept.bad.num_rows, kept)
            self._texts.add(self._redaction.good(kept.good))
            self._drift.look_at(kept.bad)
            self._stage_bad(self._redaction.bad(kept.bad))
            last = max(last, row)
        return last

    def _judged(self, judge: Judge, unit: Unit, *, is_first: bool) -> Iterator[tuple[Judged, int]]:
        """Judge a unit batch by batch as its reader gives them."""
        for batch in unit.batches():
            batch = self._named(judge, unit, batch, is_first=is_first)  # noqa: PLW2901
            is_first &= {*batch.column_names} <= {*INSIDE, SOURCE}
            if batch.num_rows == 0:
                continue
            batch = store_payloads(batch, self._payloads, self._stores.payloads, measures=self._measures)  # noqa: PLW2901
            yield judge.judge(batch, is_text=unit.is_text), pc.max(batch[ROW]).as_py()

    def _named(self, judge: Judge, unit: Unit, batch: pa.Table, *, is_first: bool) -> pa.Table:
        """Give a batch its ``_source`` and the columns' known names, and refuse columns that cannot be."""
        if not unit.is_recorded:
            batch = self._stray.set_aside(batch)
        batch = self._drift.respelled(unit.name, batch)
        columns = [name for name in batch.column_names if name not in (*INSIDE, SOURCE)]
        given = SOURCE in batch.column_names
        if given and unit.is_recorded:
            raise UnreadableUnitError("the column '_source' is a system column; rename or drop it")
        if not given:
            batch = batch.append_column(SOURCE, pa.repeat(pa.scalar(unit.name), batch.num_rows))
        self._check_names(judge, columns)
        if columns and is_first:
            self._headers.append(columns)
            self._check_columns(judge, unit, columns)
        return batch

    def _stage_good(self, rows: pa.Table) -> None:
        name = self._dataset.arrival_time
        arrived = self._now if name is None else rows[name]
        self._stage.add_good(with_system_columns(rows, arrived=arrived, ingest_id=self._ingest_id))

    def _stage_bad(self, rows: pa.Table) -> None:
        self._stage.add_bad(with_system_columns(rows, arrived=self._now, ingest_id=self._ingest_id))

    def _check_names(self, judge: Judge, columns: list[str]) -> None:
        for name in columns:
            if name.startswith("__") or name in SYSTEM_COLUMNS:
                raise UnreadableUnitError(f"the column '{name}' has a name kept for the system; rename or drop it")
        extra = judge.extra_columns(columns)
        if extra:
            raise UnreadableUnitError(f"the contract is strict and does not name the column {', '.join(extra)}")

    def _check_columns(self, judge: Judge, unit: Unit, columns: list[str]) -> None:
        absent = judge.missing_columns(columns) if unit.has_header else []
        if absent:
            self._missing[unit.name] = (absent, columns)
            try:
                require_known(absent[:1], columns, "the contract")
            except ContractError as error:
                reason = f"there is no column '{absent[0]}', which the contract requires. {error.hint}"
                raise UnreadableUnitError(reason) from None
        self._drift.see(unit.name, columns, has_header=unit.has_header)

    def _check_types(self) -> None:
        changed = self._was_text.symmetric_difference(self._text_columns) & set(self._stored)
        for name in sorted(changed):
            then, now = ("text", "otherwise") if name in self._was_text else (self._stored[name], "text")
            raise ContractError(
                f"Dataset '{self._dataset.name}': column '{name}' is stored as {then} and now declared {now}.",
                hint="Keep the type, or ingest into a dataset of another name.",
            )
        for item in self._dataset.contract.columns:
            stored = self._stored.get(item.name)
            if stored is not None and stored != SQL_TYPES[item.type]:
                raise ContractError(
                    f"Dataset '{self._dataset.name}': column '{item.name}' is stored as {stored}, and the contract now "
                    f"says {item.type}.",
                    hint="Keep the type, or ingest into a dataset of another name.",
                )

    def _identify(
        self, con: duckdb.DuckDBPyConnection, stored_sql: Callable[[], str] | None, refused: dict[str, str]
    ) -> Identified | None:
        dataset = self._dataset
        uniques = list(dataset.contract.uniques())
        key: tuple[str, ...] = dataset.key
        if not key and uniques and uniques[0].on_failure == "quarantine":
            key = uniques[0].columns
        if not self._stage.has("good") or not (key or uniques):
            return None
        suspects: dict[tuple[str, ...], Suspects] = {}
        asked = dict.fromkeys([key, *(tuple(check.columns) for check in uniques)])
        for columns in filter(None, asked):
            found = self.keys.suspects(con, columns)
            if found is not None:
                suspects[columns] = found
        if len(suspects) == len([*filter(None, asked)]) and not any(len(one.positions) for one in suspects.values()):
            return Identified.nothing()
        listed = ", ".join(quote_text(name) for name in refused)
        outside = f" WHERE {SOURCE} NOT IN ({listed})" if refused else ""
        con.register("staged rows", self._stage.table("good"))
        con.execute(f'CREATE TEMP VIEW staged AS SELECT * FROM "staged rows"{outside}')
        names = [name for name in self._stage.types if name not in SYSTEM_COLUMNS]
        stored: list[str] = []
        if stored_sql is not None:
            con.execute(f"CREATE TEMP VIEW stored AS {stored_sql()}")
            stored = list(self._stored)
        return Identity(con, names, stored, suspects).judge(key, dataset.on_duplicate, uniques)

    def _finish(
        self,
        con: duckdb.DuckDBPyConnection,
        identified: Identified | None,
        records: list[Known],
        refused: dict[str, str],
        warnings: list[str],
    ) -> Staged:
        tally = self._tally
        duplicates = quarantined_by_key = 0
        if identified is not None:
            self._stage.drop(identified.dropped)
            self._stage_bad(self._readable(identified.quarantined))
            self._stage.close()
            duplicates, quarantined_by_key = identified.duplicates, identified.quarantined.num_rows
            later = Tally(failures=identified.failures, warned=identified.warned, stopped=identified.stopped)
            self._stop_or_warn(warnings, later)
            tally.merge(later)
        accepted = tally.rows_read - tally.rows_bad - duplicates - quarantined_by_key
        superseding = identified.superseding if identified else 0
        if self._stage.has("good") and looks_at_others(self._dataset.contract):
            dropped = identified.dropped if identified else np.empty(0, dtype=np.int64)
            settling = Settling(
                con, self._stores, self._dataset, self._stage, now=self._now, refused=list(refused), dropped=dropped
            )
            settled = settling.rows()
            self._stage_bad(self._readable(settled.quarantined))
            self._stage.close()
            later = Tally(failures=settled.failures, warned=settled.warned, stopped=settled.stopped)
            self._stop_or_warn(warnings, later)
            tally.merge(later)
            accepted -= settled.quarantined.num_rows
            quarantined_by_key += settled.quarantined.num_rows
            self._report_whole(settling.whole(accepted, superseding, self._headers), warnings)
        reasons = dict(sorted(tally.failures.items()))
        return Staged(
            rows_read=tally.rows_read,
            rows_accepted=accepted,
            rows_quarantined=tally.rows_bad + quarantined_by_key,
            rows_duplicate=duplicates,
            superseding=superseding,
            reasons=reasons,
            records=records,
            refused=refused,
            warnings=warnings,
        )

    def _readable(self, quarantined: pa.Table) -> pa.Table:
        """Give rows that their key kept out their texts back."""
        if not self._text_columns or not quarantined.num_rows:
            return quarantined
        raw = raw_with_texts(self._stores.payloads, quarantined["raw"], self._text_columns)
        return quarantined.set_column(quarantined.column_names.index("raw"), "raw", raw)

    def _stop_or_warn(self, warnings: list[str], tally: Tally) -> None:
        if tally.stopped:
            found = ", ".join(f"{label}: {count} rows" for label, count in sorted(tally.stopped.items()))
            raise IngestStoppedError(
                f"Dataset '{self._dataset.name}': {found}. Nothing of this ingest was stored.",
                hint="Repair the data, or set on_failure='quarantine' for the check.",
            )
        warnings += [f"{label}: {count} rows, kept" for label, count in sorted(tally.warned.items())]

    def _report_whole(self, results: list[WholeResult], warnings: list[str]) -> None:
        for one in results:
            if one.problem is not None and one.on_failure == "stop":
                raise IngestStoppedError(
                    f"Dataset '{self._dataset.name}': {one.label} failed: {one.problem}. Nothing was stored.",
                    hint="Look at the source, or set on_failure='warn' for the check.",
                )
        warnings += [f"{one.label} failed: {one.problem}" for one in results if one.problem is not None]


def refused_rows(refused: dict[str, str]) -> pa.Table:
    """Return the quarantine's entries for units that could not be read as a whole: source row -1."""
    return pa.table(
        {
            SOURCE: pa.array(list(refused), pa.string()),
            ROW: pa.array([-1] * len(refused), pa.int64()),
            "reasons": pa.array(
                [[{"check": "unit", "column": "", "value": reason}] for reason in refused.values()],
                REASONS_TYPE,
            ),
            "raw": pa.array([json.dumps({"unit": name}) for name in refused], pa.string()),
        }
    )
