"""What each arm of a release saw in its present step, counted from the prediction log.

A look reads the predictions that came since the last one, however many the step has: counts, latency histograms and
sets of units add up (`loopwright.serving.releases.step_counts`). In the shadow stage the copy of a request may reach
the lake before or after its answer; the partner is looked for among the predictions made at about the same time, which
Parquet's statistics find without reading the others. The first look at a step, and one after an erasure, counts all of
it, slice by slice of time. The rows of a request are logged together, so they are never counted in two looks.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

import numpy as np

from loopwright.core.storage import duck
from loopwright.core.storage.file_lock import FileLock
from loopwright.core.storage.table_log import commit_mark
from loopwright.serving.releases.judge import StepEvidence
from loopwright.serving.releases.release import elapsed
from loopwright.serving.releases.step_counts import ArmRequests, StepMemory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import duckdb

    from loopwright.core.storage.stores import Stores
    from loopwright.serving.log.compactor import PredictionTable
    from loopwright.serving.releases.release import Release
    from loopwright.serving.releases.step_counts import StepCounts

_SLICE_ROWS = 250_000
_EARLIER_US = 3_600_000_000  # servers' clocks may go behind the one that began the step
_BESIDE_US = 600_000_000  # a copy and its answer are of one moment, but for clocks that were set meanwhile
_COLUMNS = (
    'route, request_id, prediction_id, "at", unit_hash, status, latency_us, output_number, output_text, experiment'
)
_ROWS = "CREATE OR REPLACE TEMP TABLE step_rows AS {parts}"
_PART = "SELECT {columns}, {fresh} AS fresh FROM ({source}) WHERE experiment = $experiment AND route IN ($one, $other)"
# Whoever chose the ids of requests may choose one twice; two moments are two requests.
_REQUESTS = """
CREATE OR REPLACE TEMP TABLE step_requests AS
SELECT route, min(prediction_id) AS first, any_value(unit_hash) AS unit, max(status) AS status,
    max(latency_us) AS latency_us, bool_or(fresh) AS fresh
FROM step_rows GROUP BY route, request_id, "at"
"""
_ARM = "SELECT unit, status, latency_us FROM step_requests WHERE route = $route AND fresh"
# Shadow copies may be dropped under load: only requests that both versions saw are compared.
_MIRRORED = """
SELECT c.unit, c.status, c.latency_us FROM step_requests c JOIN step_requests s ON c.first = s.first
WHERE c.route = 'champion' AND s.route = 'shadow' AND (c.fresh OR s.fresh)
"""
_PAIRS = """
SELECT count(*), count(*) FILTER (WHERE a.output_number IS DISTINCT FROM b.output_number
    OR a.output_text IS DISTINCT FROM b.output_text)
FROM step_rows a JOIN step_rows b ON a.prediction_id = b.prediction_id
WHERE a.route = 'champion' AND b.route = 'shadow' AND a.status = 200 AND b.status = 200 AND (a.fresh OR b.fresh)
"""


def step_evidence(release: Release, predictions: PredictionTable, *, now: datetime) -> StepEvidence:
    """Count what the present step of an open release has shown; brings the newest predictions into the lake first."""
    predictions.compact()
    stage: Literal["shadow", "canary"] = "shadow" if release.stage == "shadow" else "canary"
    counts = StepLook(release, predictions).counts()
    return StepEvidence(
        stage=stage,
        share=release.share,
        champion=counts.arm("champion"),
        challenger=counts.arm(stage),
        elapsed_s=elapsed(release, now).total_seconds(),
        min_time_s=release.min_step_time_s(),
        pairs=counts.pairs,
        disagreements=counts.disagreements,
    )


class StepLook:
    """One look at the step of a release.

    Args:
        release: An open release.
        predictions: Its model's predictions, in the lake.
    """

    def __init__(self, release: Release, predictions: PredictionTable) -> None:
        self._release = release
        self._table = predictions.table
        self._stores: Stores = predictions.stores
        self._other = "shadow" if release.stage == "shadow" else "canary"
        self._folder = self._stores.local / "step_counts" / release.model

    def counts(self) -> StepCounts:
        """Return the counts up to the newest version of the table."""
        tables = self._stores.tables
        span = tables.span(self._table)
        if span.empty:
            return StepMemory(self._folder, self._release.experiment).counts
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder.with_name(f"{self._folder.name}.lock")).hold():
            memory = StepMemory(self._folder, self._release.experiment)
            if memory.counts.until and (
                memory.counts.until > span.until or self._mark(memory.counts.until) != memory.counts.mark
            ):
                memory.forget()
            if memory.counts.until < span.until:
                self._count(memory, span.until)
            return memory.counts

    def _count(self, memory: StepMemory, until: int) -> None:
        if memory.counts.until == 0:
            memory.forget()
        with duck.borrowed() as con:
            for parts in self._parts(con, memory.counts.until, until):
                self._lay_out(con, parts)
                if self._other == "shadow":
                    memory.add("champion", _requests(con, _MIRRORED))
                    pairs, disagreements = con.execute(_PAIRS).fetchone() or (0, 0)
                    memory.counts.pairs += int(pairs)
                    memory.counts.disagreements += int(disagreements)
                else:
                    memory.add("champion", _requests(con, _ARM, route="champion"))
                memory.add(self._other, _requests(con, _ARM, route=self._other))
            con.execute("DROP TABLE IF EXISTS step_rows")
            con.execute("DROP TABLE IF EXISTS step_requests")
        memory.save(until, self._mark(until) or "")

    def _parts(self, con: duckdb.DuckDBPyConnection, after: int, until: int) -> Iterator[list[tuple[str, bool]]]:
        """Give what is to be counted together: SELECTs, each with whether its rows are new."""
        tables = self._stores.tables
        if after == 0:
            scan = tables.scan_sql(self._table, until)
            begins = int(self._release.step_started_at.timestamp() * 1e6) - _EARLIER_US
            for low, high in self._slices(con, scan, begins):
                yield [(_between(scan, low, high), True)]
            return
        span = tables.span(self._table, after)
        fresh = tables.added_sql(span, key=("prediction_id", "version", "route"))
        if fresh is None:
            return
        parts = [(fresh, True)]
        if self._other == "shadow":
            found = self._extent(con, fresh)
            if found is not None:
                old = tables.scan_sql(self._table, after)
                parts.append((_between(old, found[0] - _BESIDE_US, found[1] + _BESIDE_US), False))
        yield parts

    def _slices(self, con: duckdb.DuckDBPyConnection, scan: str, begins: int) -> Iterator[tuple[int, int]]:
        found = self._extent(con, f'SELECT * FROM ({scan}) WHERE "at" >= make_timestamptz({begins})')
        if found is None:
            return
        low, high, rows = found
        slices = max(1, -(-rows // _SLICE_ROWS))
        edges = [low + (high + 1 - low) * place // slices for place in range(slices + 1)]
        for first, last in itertools.pairwise(edges):
            if last > first:
                yield first, last - 1

    def _extent(self, con: duckdb.DuckDBPyConnection, source: str) -> tuple[int, int, int] | None:
        """Return the first and the last moment of the step's rows, in microseconds, and how many they are."""
        query = f'SELECT epoch_us(min("at")), epoch_us(max("at")), count(*) FROM ({source}) WHERE experiment = ?'
        low, high, rows = con.execute(query, [self._release.experiment]).fetchone() or (None, None, 0)
        return None if low is None else (int(low), int(high), int(rows))

    def _lay_out(self, con: duckdb.DuckDBPyConnection, parts: list[tuple[str, bool]]) -> None:
        selects = [_PART.format(columns=_COLUMNS, fresh=str(fresh).lower(), source=source) for source, fresh in parts]
        given = {"experiment": self._release.experiment, "one": "champion", "other": self._other}
        con.execute(_ROWS.format(parts=" UNION ALL ".join(selects)), given)
        con.execute(_REQUESTS)

    def _mark(self, version: int) -> str | None:
        return commit_mark(self._stores.tables.location.child(self._table), version)


def _between(scan: str, low: int, high: int) -> str:
    return f'SELECT * FROM ({scan}) WHERE "at" BETWEEN make_timestamptz({low}) AND make_timestamptz({high})'


def _requests(con: duckdb.DuckDBPyConnection, query: str, **given: str) -> ArmRequests:
    columns = con.execute(query, given or None).fetchnumpy()
    return ArmRequests(
        *(np.ascontiguousarray(columns[name], dtype=np.int64) for name in ("unit", "status", "latency_us"))
    )
