"""What a worker does: it opens the stores and the version once, then scores parts, one at a time.

A part is read in batches of bounded size, each read by column, assembled, computed; a row that cannot be scored is put
aside with the reason, and the others go on. Then the part is committed (`loopwright.serving.scoring.writing`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import pyarrow as pa

from loopwright.core.errors import FailedError, ModelFailedError, RequestError
from loopwright.core.storage.stores import open_stores
from loopwright.data.ingest.text import read_texts
from loopwright.data.sources.unit import DEFECT
from loopwright.features.online_stores import open_online_store
from loopwright.features.request import RequestField
from loopwright.features.row_batch import RowBatch
from loopwright.registry.registry import Registry
from loopwright.serving.log.compactor import predictions_table
from loopwright.serving.predictor import Predictor
from loopwright.serving.scoring.answers import answer_table, log_table, reject_table
from loopwright.serving.scoring.destination import destination_from
from loopwright.serving.scoring.job import Layout, PartCounts, ScoreJob, ScorePart
from loopwright.serving.scoring.partition import read_slice
from loopwright.serving.scoring.row_columns import Fault, find_faults, kept
from loopwright.serving.scoring.writing import part_transaction, writer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import Stores
    from loopwright.evaluation.outputs import Outputs
    from loopwright.features.assembly import Assembled, FeatureAssembly
    from loopwright.features.request import ValueType
    from loopwright.features.row_batch import Column

ENTRY: Final = "loopwright.serving.scoring.part_scoring:open_scoring"
BATCH_ROWS = 65_536
PAYLOAD_BATCH_ROWS = 2_048
TEXT_BATCH_ROWS = 16_384
MOST_POISON_ROWS = 1_000
"""Rows of a part that may make the features or the model fail, each found by halving; beyond, the model is at fault."""

_TYPES: dict[str, ValueType] = {
    "float64": "float",
    "float32": "float",
    "int64": "int",
    "bool": "bool",
    "string": "string",
    "category": "category",
    "timestamp": "timestamp",
}


@dataclass(frozen=True)
class ScoreSetup:
    """What a worker needs to begin."""

    settings: Settings
    job: ScoreJob


def open_scoring(setup: ScoreSetup) -> PartScoring:
    """Open the stores and load the version; the entry of workers."""
    return PartScoring(open_stores(setup.settings), setup.job)


def stored_assembly(assembly: FeatureAssembly, joined: tuple[str, ...]) -> FeatureAssembly:
    """Return an assembly for rows as a dataset stores them: names hashed already, and views joined already."""
    views = [one for one in assembly.fields if one.origin == "view"] if joined else []
    inputs = [replace(one, hidden=None) for one in assembly.inputs]
    inputs += [RequestField(one.name, _TYPES[one.dtype], required=False, shape=one.shape) for one in views]
    fields = tuple(replace(one, origin="column") if one in views else one for one in assembly.fields)
    return replace(assembly, inputs=tuple(inputs), fields=fields, views=() if joined else assembly.views)


@dataclass
class _Collected:
    """What a part has come to so far."""

    answers: list[pa.Table] = field(default_factory=list)
    records: list[pa.Table] = field(default_factory=list)
    rejects: list[pa.Table] = field(default_factory=list)
    poison: int = 0


class PartScoring:
    """Scores parts of one job.

    Args:
        stores: The stores.
        job: The job; running.
        on_stage: Told what was just done to a part: ``computed``, ``rejects``, ``logged``, ``committed``.
    """

    def __init__(self, stores: Stores, job: ScoreJob, on_stage: Callable[[str], None] = lambda _: None) -> None:
        self._stores = stores
        self._job = job
        self._layout = cast("Layout", job.layout)
        self._on_stage = on_stage
        registry = Registry(stores)
        loaded = registry.load(registry.get(job.model, job.version))
        assembly = loaded.assembly
        if self._layout.stored:
            assembly = stored_assembly(assembly, self._layout.joined)
        online = open_online_store(stores.settings.online_url) if assembly.needs_online else None
        self._predictor = Predictor(loaded, online=online, clock=stores.clock)
        self._predictor.assembly = assembly
        self._writer = writer_of(destination_from(job.request["destination"]), stores.tables)
        self._log = bool(job.request["log"])
        self._log_features = bool(job.request["log_features"])
        kinds = {one.type for one in assembly.inputs}
        self._batch_rows = BATCH_ROWS
        if "text" in kinds and self._layout.stored:
            self._batch_rows = TEXT_BATCH_ROWS
        if kinds & {"image", "audio"}:
            self._batch_rows = PAYLOAD_BATCH_ROWS

    def __call__(self, part: object) -> PartCounts:
        """Score a part and commit it; done again, it changes nothing."""
        return self.score(cast("ScorePart", part))

    def score(self, part: ScorePart) -> PartCounts:
        """Score a part and commit it.

        Raises:
            FailedError: If the model fails on more rows than single bad ones explain.
        """
        found = _Collected()
        columns = [*self._layout.read, "_source", "_source_row", DEFECT]
        first_row = part.first_row
        for one in part.slices:
            for batch in read_slice(one, columns, batch_rows=self._batch_rows):
                self._batch(one.source, batch, first_row, found)
                first_row += batch.num_rows
        self._on_stage("computed")
        rejected = sum(one.num_rows for one in found.rejects)
        if rejected:
            self._writer.rejects(self._job, part, pa.concat_tables(found.rejects))
            self._on_stage("rejects")
        if found.records:
            table = predictions_table(self._job.model)
            records = pa.concat_tables(found.records)
            self._stores.tables.append(table, records, transaction=part_transaction(self._job, part))
            self._on_stage("logged")
        scored = sum(one.num_rows for one in found.answers)
        if scored:
            self._writer.answers(self._job, part, pa.concat_tables(found.answers, promote_options="permissive"))
            self._on_stage("committed")
        return PartCounts(scored, rejected)

    def _batch(self, source: str, batch: pa.RecordBatch, first_row: int, found: _Collected) -> None:
        columns, faults = find_faults(self._fetched(batch), self._predictor.inputs)
        if DEFECT in batch.schema.names:
            for row, said in enumerate(batch.column(DEFECT).to_pylist()):
                if said is not None:
                    faults[row] = Fault(None, f"The row cannot be taken apart: {said}.")
        whole = np.arange(batch.num_rows, dtype=np.intp)
        good = np.delete(whole, sorted(faults)) if faults else whole
        pending = [good] if len(good) else []
        while pending:
            places = pending.pop()
            rows = columns if len(places) == batch.num_rows else kept(columns, places)
            try:
                self._scored(batch, places, rows, first_row, found)
            except RequestError as error:
                if len(places) > 1 and not _row_of(error, faults, places, pending):
                    middle = len(places) // 2
                    pending += [places[middle:], places[:middle]]
                elif len(places) == 1:
                    faults[int(places[0])] = Fault(getattr(error, "field", None), error.message)
                    self._count_poison(error, found)
        if faults:
            found.rejects.append(reject_table(self._job, source, batch, first_row, faults, self._layout.key))

    def _scored(
        self,
        batch: pa.RecordBatch,
        places: NDArray[np.intp],
        rows: dict[str, Column],
        first_row: int,
        found: _Collected,
    ) -> None:
        clock = self._stores.clock
        began = clock.monotonic()
        assembled, outputs = self._answered(rows, len(places))
        latency_us = round((clock.monotonic() - began) * 1_000_000)
        scored = batch if len(places) == batch.num_rows else batch.take(pa.array(places))
        numbers = first_row + places.astype(np.int64)
        layout, job = self._layout, self._job
        made = answer_table(job, scored, numbers, outputs, handed_on=layout.handed_on, with_ids=self._log)
        if self._log:
            found.records.append(
                log_table(
                    job,
                    scored,
                    numbers,
                    assembled,
                    outputs,
                    key=layout.key,
                    with_features=self._log_features,
                    latency_us=latency_us,
                )
            )
        found.answers.append(made)

    def _answered(self, rows: dict[str, Column], count: int) -> tuple[Assembled, Outputs]:
        return self._predictor.compute(RowBatch(rows, count), now=self._job.at)

    def _count_poison(self, error: RequestError, found: _Collected) -> None:
        if not isinstance(error, ModelFailedError):
            return
        found.poison += 1
        if found.poison > MOST_POISON_ROWS:
            raise FailedError(
                f"More than {MOST_POISON_ROWS} rows of one part make {self._job.version_id} fail: {error.message}",
                hint="The model or its features are at fault, not single rows; see: loopwright models show.",
            )

    def _fetched(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Put payloads and texts themselves in place of a dataset's references."""
        if not self._layout.stored:
            return batch
        for one in self._predictor.inputs:
            if one.name not in batch.schema.names or one.type not in {"image", "audio", "text"}:
                continue
            place = batch.schema.get_field_index(one.name)
            column = pa.chunked_array([batch.column(place)])
            if one.type == "text":
                fetched = read_texts(self._stores.payloads, column).combine_chunks()
            else:
                refs = column.to_pylist()
                found = iter(self._stores.payloads.get_many([ref for ref in refs if ref is not None]))
                fetched = pa.array([None if ref is None else next(found) for ref in refs], pa.large_binary())
            batch = batch.set_column(place, one.name, fetched)
        return batch


def _row_of(
    error: RequestError, faults: dict[int, Fault], places: NDArray[np.intp], pending: list[NDArray[np.intp]]
) -> bool:
    """Take out the row that an error names, and let the others try again; False where it names none."""
    row = getattr(error, "row", None)
    if row is None or not 0 <= row < len(places):
        return False
    reason = error.message.partition(": ")[2] if error.message.startswith("Row ") else error.message
    faults[int(places[row])] = Fault(getattr(error, "field", None), reason or error.message)
    pending.append(np.delete(places, row))
    return True
