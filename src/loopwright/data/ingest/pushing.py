"""Takes batches that are handed over: several that wait together become one ingest, and each keeps its own answer.

A commit costs about the same for ten rows and for ten thousand, so callers that push at once share one. Every batch is
on record under its id with what became of its rows; repeating it, whoever was killed meanwhile, adds nothing and gives
the same answer. Where one batch of several is refused as a whole, each is taken by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import sqlalchemy as sa

from loopwright.core.errors import IngestStoppedError, LoopwrightError, SourceError, UsageError
from loopwright.data.ingest.ingest import report_of
from loopwright.data.ingest.records import ingests, source_units
from loopwright.data.ingest.stage import SOURCE
from loopwright.data.sources.plan import Known, Plan, plan_frame
from loopwright.data.sources.unit import Unit
from loopwright.data.versions.history import History

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loopwright.core.storage.stores import Stores
    from loopwright.data.dataset import Dataset
    from loopwright.data.ingest.ingest import Ingest
    from loopwright.data.sources.frame import Frame
    from loopwright.data.versions.snapshot import IngestReport

_OF_THE_BATCH = (UsageError, SourceError, IngestStoppedError)


@dataclass(frozen=True)
class PushedBatch:
    """Rows that are handed over.

    Attributes:
        rows: A table, a dict of columns or a list of rows.
        batch_id: What identifies the batch when it is repeated; None for one that never is.
    """

    rows: Frame
    batch_id: str | None = None


class Pushing:
    """Takes batches for one dataset. The caller holds the dataset's lock and has completed what died before.

    A row of an erased key counts as a duplicate in the answer of a batch that shared its commit.

    Args:
        stores: Where everything goes.
        dataset: The declaration.
        ingest: What judges and commits.
    """

    def __init__(self, stores: Stores, dataset: Dataset, ingest: Ingest) -> None:
        self._stores = stores
        self._dataset = dataset
        self._ingest = ingest
        self._history = History(stores)

    def take(self, batches: Sequence[PushedBatch]) -> list[IngestReport | LoopwrightError]:
        """Store the batches, in their order, and return what became of each: a report, or why it was refused.

        Raises:
            StoreError: If the stores cannot take them now; then none is stored that was not stored before.
        """
        answers: dict[int, IngestReport | LoopwrightError] = {}
        units: dict[str, Unit] = {}
        names: dict[int, str] = {}
        for index, batch in enumerate(batches):
            name = f"push:{batch.batch_id or self._stores.ids.new()}"
            try:
                (unit,) = plan_frame(batch.rows, {}, name=name, has_header=False).units
                _check_columns(unit)
            except _OF_THE_BATCH as error:
                answers[index] = error
                continue
            if units.setdefault(name, unit).digest != unit.digest:
                answers[index] = self._other_rows(batch)
            else:
                names[index] = name
        known = self._known([names[index] for index in names if batches[index].batch_id is not None])
        fresh = [unit for name, unit in units.items() if name not in known]
        done = self._store(fresh)
        for index, name in names.items():
            if name not in known:
                answers[index] = done[name]
            elif known[name][0] == units[name].digest:
                answers[index] = report_of(self._dataset.name, known[name][1], self._latest())
            else:
                answers[index] = self._other_rows(batches[index])
        return [answers[index] for index in range(len(batches))]

    def _other_rows(self, batch: PushedBatch) -> SourceError:
        return SourceError(
            f"Batch '{batch.batch_id}' was pushed to '{self._dataset.name}' before with other rows.",
            hint="Use a new batch id.",
        )

    def _latest(self) -> object:
        return self._history.latest(self._dataset.name)

    def _known(self, names: Sequence[str]) -> dict[str, tuple[str, Mapping[str, object]]]:
        """Return digest and report of the batches that are on record."""
        if not names:
            return {}
        query = (
            sa.select(source_units.c.name, source_units.c.digest, ingests.c.report)
            .join(ingests, ingests.c.id == source_units.c.ingest_id)
            .where(source_units.c.dataset == self._dataset.name, source_units.c.name.in_(names))
        )
        with self._stores.facts.read() as connection:
            rows = connection.execute(query).all()
        return {row.name: (row.digest, row.report.get("batches", {}).get(row.name, row.report)) for row in rows}

    def _store(self, units: Sequence[Unit]) -> dict[str, IngestReport | LoopwrightError]:
        if len(units) > 1:
            try:
                return self._together(units)
            except _OF_THE_BATCH:
                self._ingest.stage.begin()  # nothing was stored: each by itself says which it was
        done: dict[str, IngestReport | LoopwrightError] = {}
        for unit in units:
            try:
                done[unit.name] = self._ingest.run(Plan(units=[unit]))
            except _OF_THE_BATCH as error:
                done[unit.name] = error
            self._ingest.stage.begin()
        return done

    def _together(self, units: Sequence[Unit]) -> dict[str, IngestReport | LoopwrightError]:
        plan = Plan(counts_batches=True)
        tables: list[pa.Table] = []
        for unit in units:
            rows = pa.concat_tables(unit.batches())
            tables.append(rows.append_column(SOURCE, pa.repeat(pa.scalar(unit.name), rows.num_rows)))
            plan.records.append(Known(unit.name, unit.digest, unit.size_bytes, 0, rows.num_rows, "read"))
        for index, table in enumerate(_joined(tables)):
            plan.units.append(_unit(f"push:{index}", table))
        self._ingest.run(plan)
        latest = self._latest()
        return {
            name: report_of(self._dataset.name, report, latest)
            for name, (_, report) in self._known([unit.name for unit in units]).items()
        }


def _check_columns(unit: Unit) -> None:
    """Refuse rows with columns that no engine has: without a name, or an object that has no field in any row."""
    fields = [field for table in unit.batches() for field in table.schema]
    while fields:
        field = fields.pop()
        if not field.name or "\0" in field.name:
            raise SourceError("A field has an empty name, or one with a zero character.", hint="Give each a name.")
        if pa.types.is_struct(field.type) and not field.type.num_fields:
            raise SourceError(f"The field '{field.name}' is an object without any field.", hint="Leave it out.")
        fields += [field.type.field(place) for place in range(field.type.num_fields)]


def _joined(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """Join tables whose columns have types that go together, so that they are judged in one go."""
    try:
        return [pa.concat_tables(tables, promote_options="permissive").combine_chunks()]
    except pa.ArrowException:
        runs: list[list[pa.Table]] = []
        for table in tables:
            if runs and runs[-1][-1].schema == table.schema:
                runs[-1].append(table)
            else:
                runs.append([table])
        return [pa.concat_tables(run).combine_chunks() for run in runs]


def _unit(name: str, table: pa.Table) -> Unit:
    def batches() -> Iterator[pa.Table]:
        yield table

    return Unit(name, "", table.nbytes, 0, batches, has_header=False, is_recorded=False)
