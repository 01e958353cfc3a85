"""Erasing rows everywhere: from the lake, and from all that the other rooms made of them.

One request, one line on record. The lake goes first (:mod:`loopwright.data.versions.erase`), then, each in its own way
and each again without harm: the files of training sets, online values and kept features, outcomes, predictions. What
cannot be taken out of something, as a model cannot unlearn a row, is listed with the command that closes it. A request
that died is completed by the next erasure or collection.
"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from loopwright.core.access import require
from loopwright.core.storage.duck import borrowed, to_arrow
from loopwright.core.storage.trash import Trash
from loopwright.data.ingest.lock import dataset_lock
from loopwright.data.versions.erase import Eraser
from loopwright.data.versions.erasure import Remainder, key_digest, raw_forms
from loopwright.data.versions.erasure_rows import ErasedRows
from loopwright.data.versions.remainder import remainders
from loopwright.features.erased_entities import drop_kept_rows, erase_online, views_of
from loopwright.features.erased_examples import erase_examples
from loopwright.features.online_stores import online_is_there
from loopwright.features.training_set import list_records
from loopwright.loop.lock import turn_lock
from loopwright.loop.turn import TURN_LOCK
from loopwright.monitoring.outcomes import erase_outcomes
from loopwright.serving.log.compactor import PredictionTable
from loopwright.serving.scoring.erase import erase_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa

    from loopwright.core.ref import Ref
    from loopwright.data.versions.erasure import Erasure
    from loopwright.features.erased_entities import ViewOf
    from loopwright.workspace import Workspace


def erase_rows(
    workspace: Workspace,
    dataset: str,
    key_column: str,
    values: Sequence[object],
    *,
    reason: str,
    by: str,
    forever: bool = False,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Erasure:
    """Erase the rows of some keys from a dataset and from everything that was made of them.

    Args:
        workspace: The rooms.
        dataset: The dataset.
        key_column: The column that says whose rows they are.
        values: The keys.
        reason: Why; stays on record.
        by: Who asks; stays on record.
        forever: Keep the keys out of later ingests too.
        on_stage: Told each stage; see :class:`~loopwright.data.versions.erase.Eraser`, and ``examples``, ``online``,
            ``model`` after each model, ``elsewhere``, ``finished``.

    Raises:
        AccessDeniedError: If this person is no admin.
        UsageError: If there is no value, person or reason, or a value is none of the column's type.
        UnknownNameError: If there is no such dataset or column.
        RefusedError: If a hold is in the way.
        TurnInProgressError: If a turn is running; nothing was erased.
    """
    require(workspace.principal, "admin", f"erasing rows of {dataset}")
    stores = workspace.stores
    with contextlib.ExitStack() as held:
        held.enter_context(turn_lock(stores.local / TURN_LOCK))
        held.enter_context(dataset_lock(stores.local / "locks", dataset, wait=True))
        complete_erasures(workspace, dataset, on_stage=on_stage)
        eraser = Eraser(stores, dataset, on_stage)
        views = _views(workspace, dataset, key_column)
        asked = {one.record.ref.id: one.columns for one in views if not one.by_key and one.columns}
        made = eraser.erase(key_column, values, reason=reason, by=by, forever=forever, elsewhere=asked)
        complete_erasures(workspace, dataset, on_stage=on_stage)
        return eraser.find(made.id)


def complete_erasures(
    workspace: Workspace, dataset: str, *, on_stage: Callable[[str], None] = lambda _: None
) -> list[str]:
    """Carry out what was asked of a dataset and is not done, and return the requests' ids; the caller has the locks."""
    eraser = Eraser(workspace.stores, dataset, on_stage)
    eraser.complete()
    done = []
    for row in eraser.elsewhere():
        _Elsewhere(workspace, eraser, row, on_stage).run()
        on_stage("finished")
        done.append(row.id)
    return done


def _views(workspace: Workspace, dataset: str, key_column: str) -> list[ViewOf]:
    tables, table = workspace.stores.tables, f"datasets/{dataset}"
    columns = tables.schema(table).names if tables.exists(table) else []
    return views_of(workspace.stores, dataset, key_column, columns)


class _Elsewhere:
    """The other rooms' part of one request."""

    def __init__(self, workspace: Workspace, eraser: Eraser, row: sa.Row[Any], on_stage: Callable[[str], None]) -> None:
        self._workspace = workspace
        self._stores = workspace.stores
        self._eraser = eraser
        self._row = row
        self._on_stage = on_stage
        self._rows = ErasedRows.of(workspace.stores, row)
        found = row.plan.get("found", {})
        self._keys = {*found.get("", ()), *(row.key_digests if self._is_key() else ())}
        self._entities: dict[str, set[str]] = {name: set(digests) for name, digests in found.items()}
        self._scratch = self._stores.local / "erase" / f"{row.dataset} elsewhere"
        self._remains: list[Remainder] = []

    def run(self) -> None:
        """Erase, room after room, and say that it is done."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)
        examples, closed = self._examples()
        self._on_stage("examples")
        online = self._online()
        self._on_stage("online")
        predictions = outcomes = 0
        for model in dict.fromkeys(
            one.name for one in list_records(self._stores) if self._is_of(one.label_field.source)
        ):
            went = self._model(model)
            predictions, outcomes = predictions + went[0], outcomes + went[1]
            self._on_stage("model")
        self._delete_replaced()
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._on_stage("elsewhere")
        remains = [*remainders(self._stores, self._row, self._row.plan["versions"], closed=closed), *self._remains]
        self._eraser.finish(
            self._row, remains, examples=examples, online=online, predictions=predictions, outcomes=outcomes
        )

    def _examples(self) -> tuple[int, Sequence[Ref]]:
        made = erase_examples(
            self._stores,
            self._row.dataset,
            self._is_erased,
            replacing=lambda blobs: self._eraser.note_blobs(self._row, blobs),
        )
        return made.rows, made.closed

    def _online(self) -> int:
        """Let values go that were computed from the rows; nothing was, where no row was stored."""
        if not self._row.plan["stored_rows"]:
            return 0
        has_online = online_is_there(self._stores.settings.online_url)
        count = 0
        for view in _views(self._workspace, self._row.dataset, self._row.key_column):
            name = view.record.ref.id
            digests = set(self._row.key_digests) if view.by_key else self._entities.get(name, set())
            went = self._entities_of(view, digests) if has_online else 0
            if went and not view.by_key:
                command = f"loopwright features materialize {view.record.name}"
                self._remains.append(Remainder("view", f"{name}: {went} entities wait for their values", command))
            if drop_kept_rows(self._stores, view):
                command = f"loopwright features backfill {view.record.name}"
                self._remains.append(Remainder("view", f"{name}: the rows kept in the lake were deleted", command))
            count += went
        return count

    def _entities_of(self, view: ViewOf, digests: set[str]) -> int:
        def is_erased(text: str) -> bool:
            return key_digest(self._row.salt, text) in digests

        online = self._workspace.features.online
        return erase_online(self._stores, online, view, self._row.key_column, is_erased)

    def _model(self, model: str) -> tuple[int, int]:
        served = PredictionTable(self._stores, model)
        forms = raw_forms(self._row.key_column, self._rows.kind, "features")
        condition = " OR ".join([self._rows.matches('"key"', sorted(self._keys)), *map(self._rows.matches, forms)])
        outcomes = 0

        def before(ids: set[str]) -> None:
            nonlocal outcomes
            outcomes = erase_outcomes(self._stores, model, ids, self._scratch)

        predictions = served.erase(condition, self._scratch, before)
        by_key = self._rows.matches('"key"', sorted(self._keys))
        column = self._row.key_column
        scores, folders = erase_scores(self._stores, model, column, self._rows.matches, by_key, self._scratch)
        for folder in folders:
            self._remains.append(Remainder("files", f"{folder}: answers in files", f"delete what is in {folder}"))
        Trash(self._stores).forget([f"tables/{kind}/{model}/" for kind in ("predictions", "outcomes", "labels")])
        for name in served.open_segments() if predictions else ():
            self._remains.append(
                Remainder("log", f"{model}/{name}", "its server deletes it when it ends: restart loopwright up")
            )
        return predictions + scores, outcomes

    def _delete_replaced(self) -> None:
        """Delete the files of training sets that were replaced, unless another one has the same."""
        still = {digest for one in list_records(self._stores) for digest in (one.train_digest, one.holdout_digest)}
        (row,) = [one for one in self._eraser.elsewhere() if one.id == self._row.id]
        for digest in row.plan.get("blobs", ()):
            if digest not in still:
                self._stores.blobs.delete(digest)

    def _is_erased(self, keys: pa.ChunkedArray) -> pa.ChunkedArray:
        with borrowed() as con:
            con.register("examples", pa.table({"key": keys, "n": pa.array(range(len(keys)), pa.int64())}))
            condition = self._rows.matches("key", sorted(self._keys))
            return to_arrow(con.sql(f"SELECT {condition} AS gone FROM examples ORDER BY n"))["gone"]

    def _is_key(self) -> bool:
        return self._eraser.key == (self._row.key_column,)

    def _is_of(self, dataset: str | None) -> bool:
        return dataset == str(self._row.dataset)
