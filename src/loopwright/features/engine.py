"""The port of what runs feature views: views on snapshots, and the point-in-time join.

``DuckEngine`` (``loopwright.features.engine_duckdb``) is the embedded adapter. Another one implements the two protocols
below and gets a line in ``loopwright.features.engines``; training sets, materialisation and parity ask nothing else of
it. Its conformance suite is ``loopwright.features.conformance.engine``.

What a view's rows are is decided before any engine is asked: ``loopwright.features.compiled_view`` calls the view's
function, checks its columns and derives availability, and an engine compiles the Ibis expression that comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    import duckdb
    import pyarrow as pa

    from loopwright.core.storage.stores import Stores
    from loopwright.data.lake import Lake
    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.features.field import Field
    from loopwright.features.join import JoinView
    from loopwright.features.label import Label
    from loopwright.features.view import FeatureView


@dataclass(frozen=True)
class ViewRows:
    """A view's rows, kept by the engine for as long as its session is open.

    Attributes:
        view: The view.
        join: How to join them: table, entity, event time, ``known_at`` and features.
        fields: The features that the view makes, in its order.
        warnings: What a reader of the training set should know.
        rows: How many rows were computed.
        parents: The views that it reads, and those that they read, the first ones first.
    """

    view: FeatureView
    join: JoinView
    fields: tuple[Field, ...]
    warnings: tuple[str, ...] = ()
    rows: int = 0
    parents: tuple[ViewRows, ...] = ()


@dataclass(frozen=True)
class Only:
    """Which entities' rows a session reads of the datasets; all others are as if they were not there.

    Attributes:
        keys: One row per entity.
        columns: By dataset, the columns that equal those of ``keys``, in their order; a dataset that is not named is
            read whole.
    """

    keys: pa.Table
    columns: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Inputs:
    """What a session may read: one snapshot of each dataset, whole or for some entities only."""

    stores: Stores
    lake: Lake
    snapshots: Mapping[str, Snapshot]
    only: Only | None = None


class EngineSession(Protocol):
    """Views of some snapshots, computed once each. One thread at a time.

    Attributes:
        desk: A DuckDB connection in UTC with a view for each dataset under its name. Examples are made there, whatever
            engine computes the views; it is closed with the session.
    """

    desk: duckdb.DuckDBPyConnection

    def compute(self, view: FeatureView, labels: Sequence[Label] = ()) -> ViewRows:
        """Compute a view's rows, and first those of the views that it reads; the second call returns the first's.

        Every row has the view's entity columns, its event time and ``__known_at__`` (both in UTC; never known before
        its event time) and the features in the types of their fields.

        Args:
            view: What to run.
            labels: The labels whose columns are known later than their rows.

        Raises:
            FeatureError: If the view breaks a rule (see ``compiled_view``), cannot be computed, or gives two rows for
                one entity, event time and moment of knowledge.
        """
        ...

    def join(
        self, examples: str, views: Sequence[ViewRows], *, time: str, columns: Sequence[str], order: str, batch: int
    ) -> pa.RecordBatchReader:
        """Join the views to a table of the desk, as ``loopwright.features.join`` says, one row per example.

        Args:
            examples: The table's name.
            views: What to bring over; no two share a feature's name.
            time: The examples' moment.
            columns: The examples' columns to keep, which come first.
            order: The column of the examples to sort by.
            batch: The most rows per batch.
        """
        ...

    def latest(
        self, rows: ViewRows, *, until: datetime, after: datetime | None = None, batch: int
    ) -> pa.RecordBatchReader:
        """Stream, for each entity, the row that counts at ``until``: its key, event time, ``__known_at__``, features.

        Args:
            rows: The view's rows.
            until: Only what was known by then and has not outlived its ttl then.
            after: Only what was not known yet at this earlier moment.
            batch: The most rows per batch.
        """
        ...

    def entities(
        self,
        rows: ViewRows,
        *,
        limit: int,
        columns: Sequence[str] | None = None,
        known_after: datetime | None = None,
    ) -> pa.Table:
        """Return the keys of some entities, each once, the same ones at each call; none has a missing part.

        A view without an entity has one of them: a table of one row, whatever its column.

        Args:
            rows: The view's rows.
            limit: The most to return.
            columns: Of the entity's columns, those to tell entities apart by; by default all.
            known_after: Only entities with a row that is known later than this moment.
        """
        ...

    def next_known(self, rows: ViewRows, *, after: datetime) -> datetime | None:
        """Return the first moment after the given one at which a row becomes known, or None if all are."""
        ...

    def stream(
        self, rows: ViewRows, *, since: datetime | None = None, before: datetime | None = None, batch: int
    ) -> pa.RecordBatchReader:
        """Stream a view's rows as they are, of event times in ``[since, before)``, in no order.

        Columns as in ``latest``.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class FeatureEngine(Protocol):
    """What runs feature views. ``name`` is written where results are compared."""

    name: str

    def open(self, inputs: Inputs) -> EngineSession:
        """Open a session on some snapshots; what it keeps goes when it is closed."""
        ...
